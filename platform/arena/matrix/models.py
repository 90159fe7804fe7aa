"""What attacks did to defenses. Bits are packed, one per ranked example in data order (`arena.rankings.bits`)."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from arena.evaluations.leases import Leased, now
from arena.evaluations.models import Evaluation, new_seed
from arena.submissions.identifiers import new_public_id
from arena.submissions.models import Submission


def archive_path(archive: Archive, filename: str) -> str:
    """Where adversarial inputs are stored: named by their content."""
    return f"adversarial/{archive.digest[:2]}/{archive.digest}.npz"


class Trial(Leased):
    """The first look at an uploaded attack: five examples of one target; for an array, the claims of every example too.

    report: a CellReport without its bits. verdict: empty until it is known; an attack plays once it is accepted.
    """

    class Verdict(models.TextChoices):
        ACCEPTED = "accepted"
        REFUSED = "refused"
        PLATFORM_FAILED = "platform_failed"

    submission = models.OneToOneField(Submission, on_delete=models.CASCADE, related_name="trial")
    target = models.ForeignKey(Submission, on_delete=models.PROTECT, related_name="trials_as_target")
    seed = models.BigIntegerField(default=new_seed)
    verdict = models.CharField(max_length=16, choices=Verdict, blank=True)
    reason = models.CharField(max_length=40, blank=True)
    detail = models.TextField(blank=True)
    report = models.JSONField(null=True, blank=True)
    violations = models.JSONField(default=list, blank=True)
    created = models.DateTimeField(default=now)
    finished = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["state", "not_before"])]

    def __str__(self) -> str:
        return f"trial of {self.submission_id} ({self.verdict or self.state})"


class Archive(models.Model):
    """Adversarial inputs (`evaluator.records.adversarial_archive`), stored once however many cells and defenses hold them.

    size: bytes.
    """

    digest = models.CharField(max_length=64, unique=True)
    size = models.PositiveBigIntegerField()
    inputs = models.PositiveIntegerField()
    file = models.FileField(upload_to=archive_path)

    def __str__(self) -> str:
        return f"{self.inputs} inputs ({self.digest[:8]})"


class Cell(models.Model):
    """One attack against one defense: played, or its stored inputs replayed.

    evaluation: whose rules it is played under. team: who caused the work. priority: lower is sooner. breaks: examples that
    the defense gets right and this attack broke; broken: how many; left: right and unbroken ones. distances: float32, zlib,
    of each broken example in data order. gain: the area they take from the robustness curve (`arena.rankings.optimality`),
    None where the threat has no single budget. archive: those verified inputs that were worth keeping. source: what a
    replay replays. report: a CellReport without its bits.

    A transfer replays what the official ensemble found on another defense, which stands in `attack`; its archive is that
    defense's, of which `breaks` says what broke this one too.
    """

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        COMPLETED = "completed"
        ATTACK_FAILED = "attack_failed"
        DEFENSE_FAILED = "defense_failed"
        PLATFORM_FAILED = "platform_failed"
        CANCELLED = "cancelled"

    UNFINISHED = (State.QUEUED, State.RUNNING)

    class Kind(models.TextChoices):
        PLAY = "play"
        REPLAY = "replay"
        TRANSFER = "transfer"

    public_id = models.CharField(max_length=26, unique=True, default=new_public_id, editable=False)
    challenge = models.ForeignKey("challenges.Challenge", on_delete=models.CASCADE, related_name="cells")
    defense = models.ForeignKey(Submission, on_delete=models.CASCADE, related_name="cells_as_defense")
    attack = models.ForeignKey(Submission, on_delete=models.CASCADE, related_name="cells_as_attack")
    evaluation = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="cells")
    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, related_name="cells")
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.PLAY)
    rules_digest = models.CharField(max_length=64)
    seed = models.BigIntegerField(default=new_seed)
    priority = models.IntegerField(default=0)
    state = models.CharField(max_length=16, choices=State, default=State.QUEUED)
    reason = models.CharField(max_length=40, blank=True)
    detail = models.TextField(blank=True)

    examples = models.PositiveIntegerField()
    breaks = models.BinaryField(null=True, blank=True)
    broken = models.PositiveIntegerField(null=True, blank=True)
    left = models.PositiveIntegerField(null=True, blank=True)
    distances = models.BinaryField(null=True, blank=True)
    gain = models.FloatField(null=True, blank=True)
    verified = models.BooleanField(null=True, blank=True)
    forward_rows = models.PositiveBigIntegerField(null=True, blank=True)
    backward_rows = models.PositiveBigIntegerField(null=True, blank=True)
    seconds = models.FloatField(null=True, blank=True)
    report = models.JSONField(null=True, blank=True)
    archive = models.ForeignKey(Archive, on_delete=models.PROTECT, null=True, blank=True, related_name="cells")
    source = models.ForeignKey(Archive, on_delete=models.PROTECT, null=True, blank=True, related_name="replays")

    created = models.DateTimeField(default=now)
    started = models.DateTimeField(null=True, blank=True)
    finished = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["challenge", "rules_digest", "kind"]),
            models.Index(fields=["state", "priority"]),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["defense", "attack", "kind", "rules_digest"], name="one_cell_per_pair")
        ]

    def __str__(self) -> str:
        return f"{self.public_id} ({self.kind}, {self.state})"


class CellShard(Leased):
    """A range of a cell's examples, the unit that one worker claims.

    inputs: the verified adversarial inputs until the cell is joined. seconds: spent on it, for fair sharing.
    """

    cell = models.ForeignKey(Cell, on_delete=models.CASCADE, related_name="shards")
    index = models.PositiveIntegerField()
    start = models.PositiveIntegerField()
    stop = models.PositiveIntegerField()
    inputs = models.BinaryField(null=True, blank=True)
    seconds = models.FloatField(null=True, blank=True)
    finished = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["cell", "index"]
        indexes: ClassVar = [
            models.Index(fields=["state", "not_before"]),
            models.Index(fields=["state", "lease_until"]),
            models.Index(fields=["finished"]),
        ]
        constraints: ClassVar = [models.UniqueConstraint(fields=["cell", "index"], name="one_cell_shard_per_index")]

    def __str__(self) -> str:
        return f"{self.cell_id}[{self.start}:{self.stop}] ({self.state})"


class Survival(models.Model):
    """What a defense withstands so far, by its standing evaluation.

    correct: right without attack. robust: withstood the ensemble and every verified input of anyone; bits are only ever
    cleared. witnessed: examples of which a verified input is kept. envelope: (n,) float32, zlib, the smallest verified
    distance of any attack, inf where there is none; gain: the area that the envelope takes.
    archive: what the official ensemble broke it with, but for examples that a transfer had broken; held: which those are.
    """

    evaluation = models.OneToOneField(Evaluation, on_delete=models.CASCADE, related_name="survival")
    correct = models.BinaryField()
    robust = models.BinaryField()
    witnessed = models.BinaryField()
    envelope = models.BinaryField(null=True, blank=True)
    gain = models.FloatField(null=True, blank=True)
    archive = models.ForeignKey(Archive, on_delete=models.PROTECT, null=True, blank=True, related_name="survivals")
    held = models.BinaryField(null=True, blank=True)

    def __str__(self) -> str:
        return f"survival of {self.evaluation_id}"


class Fall(models.Model):
    """An attack broke what a defense had withstood. before, after: robust examples, of `examples`. Never edited.

    attack: for a transfer the defense on which the official ensemble had found the inputs. A fall from before the first
    verdict starts from what the defense gets right without attack.
    """

    challenge = models.ForeignKey("challenges.Challenge", on_delete=models.CASCADE, related_name="falls")
    defense = models.ForeignKey(Submission, on_delete=models.CASCADE, related_name="falls")
    attack = models.ForeignKey(Submission, on_delete=models.CASCADE, related_name="falls_caused")
    cell = models.OneToOneField(Cell, on_delete=models.CASCADE, related_name="fall")
    evaluation = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="falls")
    before = models.PositiveIntegerField()
    after = models.PositiveIntegerField()
    examples = models.PositiveIntegerField()
    at = models.DateTimeField(default=now)

    class Meta:
        ordering: ClassVar = ["at", "id"]
        indexes: ClassVar = [models.Index(fields=["challenge", "at"]), models.Index(fields=["defense", "at"])]

    def __str__(self) -> str:
        return f"{self.defense_id}: {self.before} to {self.after}"

    @property
    def fallen(self) -> int:
        """How many examples were broken for the first time."""
        return self.before - self.after

    @property
    def author(self) -> str:
        """Who or what broke it, in words."""
        return f"replay from {self.attack.name}" if self.by_transfer else self.attack.name

    @property
    def by_transfer(self) -> bool:
        """Whether the official ensemble had found the inputs on another defense, which stands in `attack`."""
        return self.attack.kind == Submission.Kind.DEFENSE
