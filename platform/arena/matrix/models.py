"""What attacks did to defenses. Bits are packed, one per ranked example in data order (`arena.rankings.bits`)."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from arena.evaluations.models import Evaluation
from arena.jobs.clock import now
from arena.jobs.models import Trial
from arena.submissions.models import Submission


def archive_path(archive: Archive, filename: str) -> str:
    """Where adversarial inputs are stored: named by their content."""
    return f"adversarial/{archive.digest[:2]}/{archive.digest}.npz"


class FirstLook(Trial):
    """The first look at an uploaded attack: five examples of one target; for an array, the claims of every example too.

    report: a CellReport without its bits. An attack plays once its first look is completed.
    """

    class Verdict(models.TextChoices):
        ACCEPTED = "accepted"
        REFUSED = "refused"
        PLATFORM_FAILED = "platform_failed"

    JUDGE = "look"

    id = models.BigAutoField(primary_key=True)
    trial = models.OneToOneField(Trial, on_delete=models.CASCADE, parent_link=True, related_name="+")
    submission = models.OneToOneField(Submission, on_delete=models.CASCADE, related_name="first_look")
    target = models.ForeignKey(Submission, on_delete=models.PROTECT, related_name="looks_as_target")
    report = models.JSONField(null=True, blank=True)
    violations = models.JSONField(default=list, blank=True)

    @property
    def verdict(self) -> str:
        """What became of the attack, as pages and the API say it; empty until it is known."""
        return _VERDICTS.get(Trial.State(self.state), "")


_VERDICTS: dict[Trial.State, str] = {
    Trial.State.COMPLETED: FirstLook.Verdict.ACCEPTED,
    Trial.State.SUBMISSION_FAILED: FirstLook.Verdict.REFUSED,
    Trial.State.PLATFORM_FAILED: FirstLook.Verdict.PLATFORM_FAILED,
}


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


class Cell(Trial):
    """One attack against one defense: played, or its stored inputs replayed.

    evaluation: whose rules it is played under. breaks: examples that the defense gets right and this attack broke; broken:
    how many; left: right and unbroken ones. distances: float32, zlib, of each broken example in data order. gain: the area
    they take from the robustness curve (`arena.rankings.optimality`), None where the threat has no single budget. archive:
    those verified inputs that were worth keeping. source: what a replay replays. report: a CellReport without its bits.
    results: every verified input, to be compared with those of other attacks. copied: breaks that repeat the results of another
    team's earlier entry (`arena.matrix.repeats`); they are in `breaks` and count in no figure of this attack, `gain` included.

    A transfer replays what the official ensemble found on another defense, which stands in `attack`; its archive is that
    defense's, of which `breaks` says what broke this one too.
    """

    STATES: ClassVar = [choice for choice in Trial.State.choices if choice[0] != "submission_failed"]

    class Kind(models.TextChoices):
        PLAY = "play"
        REPLAY = "replay"
        TRANSFER = "transfer"

    id = models.BigAutoField(primary_key=True)
    trial = models.OneToOneField(Trial, on_delete=models.CASCADE, parent_link=True, related_name="+")
    defense = models.ForeignKey(Submission, on_delete=models.CASCADE, related_name="cells_as_defense")
    attack = models.ForeignKey(Submission, on_delete=models.CASCADE, related_name="cells_as_attack")
    evaluation = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="cells")
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.PLAY)
    rules_digest = models.CharField(max_length=64)

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
    results = models.ForeignKey(Archive, on_delete=models.PROTECT, null=True, blank=True, related_name="results_of")
    copied = models.BinaryField(null=True, blank=True)
    source = models.ForeignKey(Archive, on_delete=models.PROTECT, null=True, blank=True, related_name="replays")

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["rules_digest", "kind"]),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["defense", "attack", "kind", "rules_digest"], name="one_cell_per_pair")
        ]


class Repeat(models.Model):
    """A cell's results that an earlier entry's cell of the same defense had found, or nearly so. bits: of which examples."""

    cell = models.ForeignKey(Cell, on_delete=models.CASCADE, related_name="repeated")
    of = models.ForeignKey(Cell, on_delete=models.CASCADE, related_name="repeats")
    bits = models.BinaryField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["cell", "of"], name="one_repeat_per_pair_of_cells")]

    def __str__(self) -> str:
        return f"{self.cell_id} repeats {self.of_id}"


class Survival(models.Model):
    """What a defense withstands so far, by its standing evaluation.

    correct: right without attack. robust: withstood the ensemble and every verified input of anyone; bits are only ever
    cleared. witnessed: examples of which a verified input is kept. envelope: (n,) float32, zlib, the smallest verified
    distance of any attack, inf where there is none; gain: the area that others' own results take, without copies and what
    the defense's own team found (`arena.matrix.survival.measure`).
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
