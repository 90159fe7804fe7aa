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


class Certificate(models.Model):
    """What an evaluation proved, as boards read it: copied from the report, shares in [0, 1].

    radius: the largest proven radius of every example, packed (`certificate_record.pack_radii`); accuracies: shares proven at
    each of `radii`. clean and empirical accuracy are those of the certified classifier: of the smoothed one where that is it.
    alarm: the evidence, where a witness refuted certificates.
    """

    class Classifier(models.TextChoices):
        ITSELF = "itself"
        SMOOTHED = "smoothed"

    evaluation = models.OneToOneField("evaluations.Evaluation", on_delete=models.CASCADE, related_name="certificate")
    classifier = models.CharField(max_length=8, choices=Classifier)
    method = models.CharField(max_length=80)
    norm = models.CharField(max_length=20)
    epsilon = models.FloatField()
    radii = models.JSONField()
    radius = models.TextField()
    clean_accuracy = models.FloatField()
    empirical_accuracy = models.FloatField()
    undecided = models.PositiveIntegerField()
    refuted = models.PositiveIntegerField()
    expected_false = models.FloatField()
    alarm = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"{self.evaluation_id}: {self.method} of the classifier {self.classifier}"
