"""How defenses rank: pure functions of their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Score:
    """What decides a rank. Accuracies are shares in [0, 1]; rows: model rows the verdict took; entered: when."""

    robust_accuracy: float
    clean_accuracy: float
    rows: int
    entered: datetime


def order(scores: Sequence[Score]) -> list[int]:
    """Indices of `scores`, best first: worst-case robust accuracy, then clean accuracy, then the cheaper, then the earlier."""

    def key(index: int) -> tuple[float, float, int, datetime]:
        score = scores[index]
        return (-score.robust_accuracy, -score.clean_accuracy, score.rows, score.entered)

    return sorted(range(len(scores)), key=key)
