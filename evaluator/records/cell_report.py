"""What one attack did to one defense: the cell of the matrix. Torch-free: the web reads this.

Bits and lists are in data order. A cell counts verified adversarial inputs only: returned by the attack, inside the threat
in float64, and misclassified by a fresh copy of the defense that is right about the clean image. Where the challenge names
targets, it counts what a fresh copy takes for the target, and does not take for it without attack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from evaluator.records.report import Bits, Environment, Flag, Frozen, PlatformFailed, SubmissionFailed

ViolationKind = Literal["shape", "dtype", "non-finite", "box", "budget"]


class Violation(Frozen):
    """Returned inputs that cannot count, by kind; an example may be both outside the box and outside the budget.

    count: how many examples; ids: each of them (positions in the split), in data order. detail: one sentence.
    """

    kind: ViolationKind
    count: int
    ids: list[int]
    detail: str


class CellDigests(Frozen):
    """SHA-256 of everything that determined the cell. attack: "" for a replay."""

    attack: str
    defense: str
    pack: str
    data: str


class CellReport(Frozen):
    """The result of one attack against one defense, or of replaying stored inputs on it (`kind` says which).

    ids: positions in the split. correct_bits: correct on the clean image; robust_bits: correct on it and on what this attack
    returned, or, with targets, never at its target; unbroken_bits, targets: as in `evaluator.records.report.Report`. distances:
    how far each verified break is from its image, in the threat's own units; null where none was found.
    read_as: the class that the defense gave it; empty where several answers decide.
    forward_rows, backward_rows: what the attack asked of the model; budget_rows: what it was allowed
    (`evaluator.records.cost`), null for attacks that ask nothing; check_rows: what verification asked on top.
    """

    schema_version: Literal[1] = 1
    kind: Literal["python", "array", "replay"]
    challenge: str
    attack: str
    defense: str
    examples: int
    ids: list[int]
    clean_accuracy: float
    robust_accuracy: float
    robust_interval: tuple[float, float] = Field(description="95 % Clopper-Pearson interval of robust_accuracy")
    correct_bits: Bits
    robust_bits: Bits
    unbroken_bits: Bits = Field(default_factory=list)
    targets: list[int] = Field(default_factory=list)
    distances: list[float | None]
    read_as: list[int | None] = Field(default_factory=list)
    violations: list[Violation]
    forward_rows: int
    backward_rows: int
    budget_rows: int | None
    check_rows: int
    seconds: float
    flags: list[Flag]
    verified: bool
    seed: int
    digests: CellDigests
    environment: Environment

    @property
    def attackable(self) -> Bits:
        """What stands without any attack, and so can be broken by one."""
        return self.unbroken_bits or self.correct_bits


@dataclass(frozen=True)
class CellCompleted:
    """The attack was played to its end. adversarial: the archive (.npz) of its verified inputs, see
    `evaluator.records.adversarial_archive`; it may hold none."""

    report: CellReport
    adversarial: bytes


@dataclass(frozen=True)
class DefenseFailed(SubmissionFailed):
    """The failure was the defense's and not the attack's: a plain `SubmissionFailed` of a cell is the attack's."""


CellOutcome = CellCompleted | SubmissionFailed | PlatformFailed
