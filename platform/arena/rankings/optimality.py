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


def gained(distances: Distances, epsilon: float | None) -> float | None:
    """What breaks take from `curve_area`, times the number of examples; unbroken ones (inf) may be left out.

    None where the threat has no single budget. Stored per cell and per envelope, so that optimality needs no distances.
    """
    if epsilon is None:
        return None
    return float(np.sum(1.0 - np.minimum(distances, epsilon) / epsilon)) if epsilon > 0 else 0.0


def local_optimality(gain: float | None, best: float | None) -> float | None:
    """1 for an attack whose curve is the envelope, 0 for one that takes nothing; None where nobody took anything.

    gain, best: `gained` of the attack and of the envelope, on the same examples. It falls when somebody improves the envelope.
    """
    return None if gain is None or not best else min(1.0, max(0.0, gain / best))
