"""What boards remember."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Standing(models.Model):
    """An event in a defense's history: its robust accuracy from `at` on, and what caused it. Never edited."""

    class Cause(models.TextChoices):
        ENTERED = "entered"
        REEVALUATED = "re-evaluated"

    challenge = models.ForeignKey("challenges.Challenge", on_delete=models.CASCADE, related_name="standings")
    submission = models.ForeignKey("submissions.Submission", on_delete=models.CASCADE, related_name="standings")
    evaluation = models.OneToOneField("evaluations.Evaluation", on_delete=models.CASCADE, related_name="standing")
    robust_accuracy = models.FloatField()
    at = models.DateTimeField()
    cause = models.CharField(max_length=16, choices=Cause)

    class Meta:
        ordering: ClassVar = ["at", "id"]
        indexes: ClassVar = [models.Index(fields=["challenge", "submission", "at"])]

    def __str__(self) -> str:
        return f"{self.submission_id}: {self.robust_accuracy:.4f} ({self.cause})"
