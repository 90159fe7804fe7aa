"""The state of evaluations: the database is the truth, any queue only a hint."""

from __future__ import annotations

import secrets
from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from arena.challenges.models import Challenge
from arena.evaluations.leases import Leased, now
from arena.submissions.identifiers import new_public_id
from arena.submissions.models import Submission
from evaluator.manifests.spec import Pack


def new_seed() -> int:
    """63 random bits, where no entry's files decide (`arena.submissions.seeds`)."""
    return secrets.randbits(63)


class Evaluation(models.Model):
    """One judgement of one submission.

    pack: the pack as it was when the evaluation was queued, so that a later edit cannot mix two rule books. current: the
    evaluation that stands for its submission (re-evaluations replace it). seed: secret until the evaluation is finished.
    Scores are copies from `report` for the boards, shares in [0, 1]; rows and seconds are those of the whole evaluation.
    """

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        COMPLETED = "completed"
        SUBMISSION_FAILED = "submission_failed"
        PLATFORM_FAILED = "platform_failed"
        CANCELLED = "cancelled"

    UNFINISHED = (State.QUEUED, State.RUNNING)

    public_id = models.CharField(max_length=26, unique=True, default=new_public_id, editable=False)
    submission = models.ForeignKey(Submission, on_delete=models.CASCADE, related_name="evaluations")
    current = models.BooleanField(default=True)
    pack = models.JSONField()
    rules_digest = models.CharField(max_length=64)
    seed = models.BigIntegerField(default=new_seed)
    state = models.CharField(max_length=20, choices=State, default=State.QUEUED)
    reason = models.CharField(max_length=40, blank=True)
    detail = models.TextField(blank=True)
    report = models.JSONField(null=True, blank=True)

    examples = models.PositiveIntegerField()
    clean_accuracy = models.FloatField(null=True, blank=True)
    robust_accuracy = models.FloatField(null=True, blank=True)
    interval_low = models.FloatField(null=True, blank=True)
    interval_high = models.FloatField(null=True, blank=True)
    certified_accuracy = models.FloatField(null=True, blank=True)
    verified = models.BooleanField(null=True, blank=True)
    flags = models.JSONField(default=list, blank=True)
    forward_rows = models.PositiveBigIntegerField(null=True, blank=True)
    backward_rows = models.PositiveBigIntegerField(null=True, blank=True)
    seconds = models.FloatField(null=True, blank=True)

    created = models.DateTimeField(default=now)
    started = models.DateTimeField(null=True, blank=True)
    finished = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-public_id"]
        indexes: ClassVar = [models.Index(fields=["state", "created"])]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["submission"], condition=models.Q(current=True), name="one_current_evaluation_per_submission"
            )
        ]

    def __str__(self) -> str:
        return f"{self.public_id} ({self.state})"

    @property
    def is_finished(self) -> bool:
        return self.state not in self.UNFINISHED

    @property
    def judged_pack(self) -> Pack:
        """The pack under which this evaluation is judged."""
        return Pack.model_validate(self.pack)


class Shard(Leased):
    """A range of an evaluation's examples, the unit that one worker claims.

    start, stop: positions among the pack's ranked examples. inputs: what broke the defense, until the evaluation is finished.
    """

    evaluation = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="shards")
    index = models.PositiveIntegerField()
    start = models.PositiveIntegerField()
    stop = models.PositiveIntegerField()
    inputs = models.BinaryField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["evaluation", "index"]
        indexes: ClassVar = [models.Index(fields=["state", "not_before"]), models.Index(fields=["state", "lease_until"])]
        constraints: ClassVar = [models.UniqueConstraint(fields=["evaluation", "index"], name="one_shard_per_index")]

    def __str__(self) -> str:
        return f"{self.evaluation_id}[{self.start}:{self.stop}] ({self.state})"


class Quarantine(models.Model):
    """A machine that takes no work, or (challenge) none of one challenge, until a check of itself passes."""

    machine = models.CharField(max_length=120)
    challenge = models.ForeignKey(Challenge, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    reason = models.TextField()
    since = models.DateTimeField(db_default=Now())
    check_after = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "machines in quarantine"
        ordering: ClassVar = ["machine", "pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["machine", "challenge"], name="one_quarantine_per_machine_and_challenge"),
            models.UniqueConstraint(
                fields=["machine"], condition=models.Q(challenge=None), name="one_whole_quarantine_per_machine"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.machine}: {self.reason}"
