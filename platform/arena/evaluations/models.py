"""Official evaluations: what they found, beside the trial that they are."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from arena.jobs.models import Trial
from arena.submissions.models import Submission
from evaluator.manifests.spec import Pack


class Evaluation(Trial):
    """The official judgement of one submission.

    pack: the pack as it was when the evaluation was queued, so that a later edit cannot mix two rule books. current: the
    evaluation that stands for its submission (re-evaluations replace it).
    Scores are copies from `report` for the boards, shares in [0, 1]; corruptions: its table of errors, where there
    is one. Rows and seconds are those of the whole evaluation.
    """

    JUDGE = "official"
    STATES: ClassVar = [choice for choice in Trial.State.choices if choice[0] not in ("attack_failed", "defense_failed")]

    id = models.BigAutoField(primary_key=True)
    trial = models.OneToOneField(Trial, on_delete=models.CASCADE, parent_link=True, related_name="+")
    submission = models.ForeignKey(Submission, on_delete=models.CASCADE, related_name="evaluations")
    current = models.BooleanField(default=True)
    pack = models.JSONField()
    rules_digest = models.CharField(max_length=64)
    report = models.JSONField(null=True, blank=True)

    examples = models.PositiveIntegerField()
    clean_accuracy = models.FloatField(null=True, blank=True)
    robust_accuracy = models.FloatField(null=True, blank=True)
    interval_low = models.FloatField(null=True, blank=True)
    interval_high = models.FloatField(null=True, blank=True)
    certified_accuracy = models.FloatField(null=True, blank=True)
    verified = models.BooleanField(null=True, blank=True)
    flags = models.JSONField(default=list, blank=True)
    corruptions = models.JSONField(null=True, blank=True)
    forward_rows = models.PositiveBigIntegerField(null=True, blank=True)
    backward_rows = models.PositiveBigIntegerField(null=True, blank=True)
    seconds = models.FloatField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-public_id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["submission"], condition=models.Q(current=True), name="one_current_evaluation_per_submission"
            )
        ]

    @property
    def mce(self) -> float | None:
        """The mean corruption error, 1 for the standard network; None where it is not known."""
        found: float | None = (self.corruptions or {}).get("mce")
        return found

    @property
    def relative_mce(self) -> float | None:
        """The same of what corruptions add to the error on clean images."""
        found: float | None = (self.corruptions or {}).get("relative_mce")
        return found

    @property
    def judged_pack(self) -> Pack:
        """The pack under which this evaluation is judged."""
        return Pack.model_validate(self.pack)
