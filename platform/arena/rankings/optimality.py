"""How close an attack comes to the best that anybody found: local optimality (Cina et al., AttackBench, 2024, sec. 3)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Distances = NDArray[np.float64]


def envelope(columns: Iterable[Distances], examples: int) -> Distances:
    """(n,) the smallest verified adversarial distance of each example over all attacks; inf where none was found."""
    best = np.full(examples, np.inf)
    for distances in columns:
        best = np.minimum(best, distances)
    return best


def curve_area(distances: Distances, epsilon: float) -> float:
    """Area under robust accuracy against the budget from 0 to epsilon, as a share of epsilon: the mean of min(d, eps) / eps.

    distances: (n,) of the examples that the defense gets right unattacked, inf where no break was found. In [0, 1].
    """
    return float(np.mean(np.minimum(distances, epsilon)) / epsilon) if len(distances) and epsilon > 0 else 0.0


def local_optimality(distances: Distances, best: Distances, epsilon: float) -> float | None:
    """1 for an attack whose curve is the envelope, 0 for one that breaks nothing; None where nobody broke anything.

    (1 - area of the attack) / (1 - area of the envelope), on the same examples. It falls when somebody improves the envelope.
    """
    reachable = 1.0 - curve_area(best, epsilon)
    return None if reachable <= 0 else min(1.0, max(0.0, (1.0 - curve_area(distances, epsilon)) / reachable))
