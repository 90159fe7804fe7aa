"""What an ensemble of attacks promises the evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from evaluator.attacks.base import Batch
from evaluator.models.meter import MeteredModel
from evaluator.records.report import AttackRecord, CheckRecord, Flag
from evaluator.threats.base import Threat


@dataclass(frozen=True)
class Step:
    """Where a running search stands: the attack now running, examples settled and examples still correct."""

    attack: str
    settled: int
    survivors: int


@dataclass(frozen=True)
class Search:
    """What a search found.

    points: (n, ...) one point of the threat per example, adversarial where `broken_by` >= 0. broken_by: (n,) int64 index
    into `records` of the attack that broke the example, -1 for survivors. records: one per attack, always the same list
    of attacks for the same ensemble, so that shards can be merged. flags: what makes the search doubt its own verdict.
    checks: the honesty checks around it, fired or not. errors: (n, kinds, severities) bool of a search that asked about every
    common corruption: which ones were misclassified. queries: (n,) int64 rows until each broken example fell, of a search that
    counts them.
    """

    points: Tensor
    broken_by: Tensor
    records: list[AttackRecord]
    flags: list[Flag] = field(default_factory=list)
    checks: list[CheckRecord] = field(default_factory=list)
    errors: Tensor | None = None
    queries: Tensor | None = None


class Ensemble(Protocol):
    """Attacks every example of the batch (all classified correctly) until it falls or the ensemble is spent.

    The result for an example depends on the example, the model, the threat and the seed only: not on its neighbours.
    """

    @property
    def name(self) -> str:
        """The name that manifests use."""

    def run(self, model: MeteredModel, batch: Batch, threat: Threat, observe: Callable[[Step], None]) -> Search: ...
