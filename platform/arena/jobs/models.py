"""The state of judged work: the database is the truth, any queue only a hint."""

from __future__ import annotations

import secrets
from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from arena.challenges.models import Challenge
from arena.identifiers import new_public_id
from arena.jobs.clock import now


def new_seed() -> int:
    """63 random bits, where no entry's files decide (`arena.submissions.seeds`)."""
    return secrets.randbits(63)


class Trial(models.Model):
    """A defense before a judge. Each judge's app keeps what it found in a table of its own, a child of this one.

    judge: who judges (`arena.jobs.judges`). team: who caused the work. before: the trial that is not begun until this one is
    finished. priority: lower is sooner, among a team's. seed: secret until the trial is finished. reason, detail: why it
    failed. Life changes only by conditional updates of this table (`arena.jobs.finishing`, `arena.jobs.services`).
    """

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        COMPLETED = "completed"
        SUBMISSION_FAILED = "submission_failed"
        ATTACK_FAILED = "attack_failed"
        DEFENSE_FAILED = "defense_failed"
        PLATFORM_FAILED = "platform_failed"
        CANCELLED = "cancelled"

    UNFINISHED = (State.QUEUED, State.RUNNING)

    # Not "id": each child keeps one of its own, which others refer to.
    key = models.BigAutoField(primary_key=True)
    public_id = models.CharField(max_length=26, unique=True, default=new_public_id, editable=False)
    judge = models.CharField(max_length=16)
    challenge = models.ForeignKey(Challenge, on_delete=models.CASCADE, related_name="trials")
    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, related_name="trials")
    before = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    priority = models.IntegerField(default=0)
    seed = models.BigIntegerField(default=new_seed)
    state = models.CharField(max_length=20, choices=State, default=State.QUEUED)
    reason = models.CharField(max_length=40, blank=True)
    detail = models.TextField(blank=True)
    created = models.DateTimeField(default=now)
    started = models.DateTimeField(null=True, blank=True)
    finished = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["state", "created"]), models.Index(fields=["judge", "state", "priority"])]

    def __str__(self) -> str:
        return f"{self.judge} {self.public_id} ({self.state})"

    @property
    def is_finished(self) -> bool:
        return self.state not in self.UNFINISHED


class Shard(models.Model):
    """A range of a trial's examples, the unit that one worker at a time holds.

    start, stop: positions among the ranked examples. lease_number: goes up with every lease and fences late workers. attempts:
    failures of the platform so far that were this shard's, not those of a machine that can do nothing right now. outcome,
    inputs: what was found, and what broke the defense, until the trial is finished. seconds: spent on it, for fair sharing.
    """

    class State(models.TextChoices):
        QUEUED = "queued"
        LEASED = "leased"
        DONE = "done"

    trial = models.ForeignKey(Trial, on_delete=models.CASCADE, related_name="shards")
    index = models.PositiveIntegerField()
    start = models.PositiveIntegerField()
    stop = models.PositiveIntegerField()
    state = models.CharField(max_length=8, choices=State, default=State.QUEUED)
    not_before = models.DateTimeField(db_default=Now())
    lease_owner = models.CharField(max_length=120, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    lease_number = models.PositiveIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    progress = models.JSONField(null=True, blank=True)
    outcome = models.JSONField(null=True, blank=True)
    inputs = models.BinaryField(null=True, blank=True)
    log = models.TextField(blank=True)
    seconds = models.FloatField(null=True, blank=True)
    finished = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["trial", "index"]
        indexes: ClassVar = [
            models.Index(fields=["state", "not_before"]),
            models.Index(fields=["state", "lease_until"]),
            models.Index(fields=["finished"]),
        ]
        constraints: ClassVar = [models.UniqueConstraint(fields=["trial", "index"], name="one_shard_per_trial_and_index")]

    def __str__(self) -> str:
        return f"{self.trial_id}[{self.start}:{self.stop}] ({self.state})"


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


class Misfortune(models.Model):
    """A task at which a machine failed since one last succeeded there; without a shard, a time that it was held back for such.

    In the database, since the processes of a machine share its troubles and no memory.
    """

    machine = models.CharField(max_length=120, db_index=True)
    shard = models.ForeignKey(Shard, on_delete=models.CASCADE, null=True, blank=True, related_name="+")

    class Meta:
        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return f"{self.machine}: {self.shard_id or 'held back'}"
