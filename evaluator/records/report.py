"""What an evaluation leaves behind: progress while it runs, a typed outcome, and the report.

Torch-free: the web reads this. All accuracies are shares in [0, 1]; bits are lists of 0/1 in data order.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

SCHEMA_VERSION = 1
Bits = list[Literal[0, 1]]


class SubmissionReason(enum.StrEnum):
    """Why a submission failed: stable codes, each with a sentence a team can act on in the outcome's `detail`."""

    MANIFEST = "manifest"  # the manifest or the folder is wrong
    LOAD = "load"  # load() raised, or the weights do not fit the architecture
    RAISED = "raised"  # the model raised on an input
    DIED = "died"  # the host's process ended
    MEMORY = "memory"  # the memory limit killed it
    TIMEOUT = "timeout"  # no answer within the reply or total time
    SHAPE = "shape"  # an answer of the wrong shape
    DTYPE = "dtype"  # an answer of the wrong dtype
    NOT_FINITE = "not-finite"  # NaN or Inf in an answer
    OVERSIZED = "oversized"  # an answer larger than any right answer
    PROTOCOL = "protocol"  # bytes that are not a reply to what was asked
    BUDGET = "budget"  # an attack asked for more than its budget
    UNSUPPORTED = "unsupported"  # a format that this version does not run


@dataclass(frozen=True)
class Progress:
    """One step of a running evaluation, as shown on the boards.

    stage: "starting" | "clean" | "attacking" | "verifying"; attack: the attack now running ("" outside "attacking").
    done/total: examples settled (verdict can no longer change) of all; survivors: examples still correct so far.
    """

    stage: str
    attack: str
    done: int
    total: int
    survivors: int
    forward_rows: int = 0
    backward_rows: int = 0
    seconds: float = 0.0
    seconds_left: float | None = None


class Frozen(BaseModel):
    """Base of the records that are stored as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AttackRecord(Frozen):
    """What one attack of the ensemble did.

    tried: examples it was run on (survivors of the attacks before it); broken: those it broke, verified.
    survivors: examples still correct after it. Rows are exact: one forward row is one image through the model.
    """

    name: str
    tried: int
    broken: int
    survivors: int
    forward_rows: int
    backward_rows: int
    seconds: float


class Flag(Frozen):
    """One honesty check that fired: `check` is its stable name, `evidence` one sentence with the measured figure."""

    check: str
    severity: Literal["info", "unverified"]
    evidence: str


class Curve(Frozen):
    """A measured line to draw. x, y: what the axes mean; points: (x, y) pairs in the order of x."""

    name: str = Field(max_length=60)
    x: str = Field(max_length=60)
    y: str = Field(max_length=60)
    points: list[tuple[FiniteFloat, FiniteFloat]] = Field(max_length=64)


class CheckRecord(Frozen):
    """What one honesty check measured, whether it fired or not. meaning: one sentence for people; remedy: what to
    declare or mend where it fires."""

    check: str = Field(max_length=60)
    title: str = Field(max_length=80)
    meaning: str = Field(max_length=240)
    fired: bool
    severity: Literal["info", "unverified"]
    evidence: str = Field(max_length=1000)
    remedy: str = Field(default="", max_length=240)
    curves: list[Curve] = Field(default_factory=list, max_length=4)


class Witness(Frozen):
    """An adversarial input that refutes a certificate. example: its id; distance: from the example's image, in the norm.

    points: the input as base64 of little-endian float32, in the order of the image's array.
    """

    example: int
    distance: float
    points: str = Field(max_length=1_000_000)


class CertificateRecord(Frozen):
    """What was proven. classifier: whom it speaks for, the entry "itself" or its "smoothed" version, which is another one.

    accuracy: share of examples proven at `epsilon` in `norm` and not refuted; bits: which they are. radius: the largest
    proven radius of every example, packed by `certificate_record.pack_radii` (-1: nothing proven, or refuted); accuracies:
    shares proven at each of `radii`; average_radius: the mean radius, 0 where nothing is proven.
    clean_bits, empirical_bits: which examples the certified classifier gets right as they are, and under every verified
    adversarial input found against it at `epsilon` (of a smoothed one: unless verified, both count as right).
    undecided: not even the smallest radius proven, nor refuted; refuted: ids whose certificate an adversarial input voided;
    witnesses: some of those inputs. expected_false: bound on the expected number of false certificates; samples: model rows.
    """

    method: str = Field(max_length=40)
    parameters: dict[str, float | int | str]
    classifier: Literal["itself", "smoothed"]
    norm: str = Field(max_length=20)
    epsilon: float
    accuracy: float
    average_radius: float
    bits: Bits
    radii: list[float] = Field(default_factory=list, max_length=12)
    accuracies: list[float] = Field(default_factory=list, max_length=12)
    radius: str = ""
    clean_accuracy: float | None = None
    clean_bits: Bits = Field(default_factory=list)
    empirical_accuracy: float | None = None
    empirical_bits: Bits = Field(default_factory=list)
    undecided: int
    refuted: list[int]
    witnesses: list[Witness] = Field(default_factory=list, max_length=16)
    expected_false: float
    samples: int
    seconds: float


class StandardErrors(Frozen):
    """The errors of the standard network on the same images: by kind and severity, and on the clean images."""

    network: str = Field(max_length=60)
    clean_errors: int
    errors: list[list[int]] = Field(max_length=15)


class CorruptionRecord(Frozen):
    """The table of errors under common corruptions, see `evaluator.records.corruption_record`.

    errors: how many of `examples` are not given their class, for each of `kinds` a list by `severities`. ratios: CE of each
    kind; mce, relative_mce: 1.0 is the standard network; None where its errors are not known or 0.
    """

    kinds: list[str] = Field(max_length=15)
    severities: list[int] = Field(max_length=5)
    examples: int
    clean_errors: int
    errors: list[list[int]] = Field(max_length=15)
    standard: StandardErrors | None
    ratios: list[float | None] = Field(max_length=15)
    mce: float | None
    relative_mce: float | None


class Environment(Frozen):
    """Who judged and where: versions, hardware and the isolation that was really enforced.

    evaluator, source, judging: the evaluator's version, the digest of its source and its way of judging (`records.identity`);
    "" and 0 in reports that are older than these two fields.
    """

    evaluator: str
    source: str = ""
    judging: int = 0
    torch: str
    python: str
    device: str
    threads: int
    lane: Literal["in-process", "host"]
    sandbox: str
    enforced: list[str]


class Digests(Frozen):
    """SHA-256 of everything that determined the result."""

    submission: str
    pack: str
    data: str
    image: str = ""


class Report(Frozen):
    """The result of one evaluation of one defense on one challenge.

    correct_bits: correct on the clean image; robust_bits: correct on it and under every verified adversarial input, or, where
    the challenge names targets, never at its target. unbroken_bits: not broken as they are, without any attack; left out where
    that is correct_bits. targets: the class that had to be reached, empty where any wrong one counts. queries: of a black-box
    search, the rows until the success of the attack that broke each example, null where none did.
    certified_bits: provably robust as it is (all 0 without a certificate of the classifier itself); certificate: the one
    that was asked for, of the classifier itself or of its smoothed version; corruptions: the table, where the challenge asks
    for it; broken_by: index into `attacks` of the attack that
    broke the example, -1 for none or already misclassified; ids: positions in the split. checks: every honesty check that
    ran, with what it measured; those that fired are among `flags` too.
    """

    schema_version: Literal[1] = 1
    challenge: str
    submission: str
    examples: int
    ids: list[int]
    clean_accuracy: float
    robust_accuracy: float
    robust_interval: tuple[float, float] = Field(description="95 % Clopper-Pearson interval of robust_accuracy")
    certified_accuracy: float | None
    correct_bits: Bits
    robust_bits: Bits
    unbroken_bits: Bits = Field(default_factory=list)
    targets: list[int] = Field(default_factory=list)
    queries: list[int | None] = Field(default_factory=list)
    certified_bits: Bits
    broken_by: list[int]
    attacks: list[AttackRecord]
    flags: list[Flag]
    checks: list[CheckRecord] = Field(default_factory=list, max_length=100)
    certificate: CertificateRecord | None = None
    corruptions: CorruptionRecord | None = None
    verified: bool
    seed: int
    forward_rows: int
    backward_rows: int
    seconds: float
    digests: Digests
    environment: Environment
    receipt: dict[str, Any] | None = None

    @property
    def attackable(self) -> Bits:
        """What stands without any attack, and so can be broken by one."""
        return self.unbroken_bits or self.correct_bits


@dataclass(frozen=True)
class Completed:
    """The evaluation ran to its end. adversarial: the archive (.npz) of what broke it, see `records.adversarial_archive`;
    empty where nobody asked for it."""

    report: Report
    adversarial: bytes = b""


@dataclass(frozen=True)
class SubmissionFailed:
    """The submission broke the contract: no score, counts as an attempt. `reason` is a SubmissionReason value."""

    reason: str
    detail: str


@dataclass(frozen=True)
class PlatformFailed:
    """The platform failed: retried, never counted as an attempt."""

    reason: str
    detail: str


Outcome = Completed | SubmissionFailed | PlatformFailed
