"""What is asked of the judges: an evaluation, an attack against a defense. Knows no torch, so that the site may ask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from evaluator.manifests.spec import Pack

if TYPE_CHECKING:
    from evaluator.ensembles import Ensemble


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    submission: an unpacked folder with its manifest. shard: (start, stop) positions among the pack's ranked examples,
    None for all. seed: keys all of the evaluation's randomness; the same seed gives the same verdicts bit for bit.
    examples: rank only on the first so many. lane: "auto" runs weights-only submissions in-process and code in a host.
    ensemble: None for the challenge's own. keep: whether the outcome holds what broke the defense, to be replayed on others.
    device: where an in-process model runs, "cpu" or "cuda".
    """

    pack: Pack
    submission: Path
    seed: int
    shard: tuple[int, int] | None = None
    examples: int | None = None
    lane: Literal["auto", "in-process", "host"] = "auto"
    ensemble: Ensemble | None = None
    keep: bool = False
    device: str = "cpu"


@dataclass(frozen=True)
class AttackRequest:
    """What to play.

    attack: an unpacked folder with attack.toml; defense: one with defense.toml. seed: keys the attack's and the scorer's
    randomness. shard: (start, stop) positions among the pack's ranked examples, None for all. examples: only the first so
    many. budget_rows: the most the attack may ask (`evaluator.records.cost`) over all the examples of this request, None
    for the challenge's own rows per example.
    """

    pack: Pack
    attack: Path
    defense: Path
    seed: int
    shard: tuple[int, int] | None = None
    examples: int | None = None
    budget_rows: int | None = None
