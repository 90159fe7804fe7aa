"""How close an attack comes to the best that anybody found: local optimality (Cina et al., AttackBench, 2024, sec. 3)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Distances = NDArray[np.float64]
_ROUNDING = 1e-6  # of the budget, at least as an absolute distance: what claims may exceed it by, and float32 fall short of it
_LEAST_AREA = 0.001  # of the budget: an envelope that takes less says nothing of who is close to it


def envelope(columns: Iterable[Distances], examples: int) -> Distances:
    """(n,) the smallest verified adversarial distance of each example over all attacks; inf where none was found."""
    best = np.full(examples, np.inf)
    for distances in columns:
        best = np.minimum(best, distances)
    return best


def _shares(distances: Distances, epsilon: float) -> Distances:
    """min(d, eps) / eps, in which a distance that differs from epsilon by rounding is epsilon."""
    at_epsilon = distances >= epsilon - _ROUNDING * max(1.0, epsilon)
    return np.asarray(np.where(at_epsilon, 1.0, np.minimum(distances, epsilon) / epsilon), dtype=np.float64)


def gained(distances: Distances, epsilon: float | None) -> float | None:
    """What breaks take from the area under robust accuracy against the budget, times the number of examples.

    distances: of the examples that the defense gets right unattacked, inf where no break was found; those may be left out.
    The area, from 0 to epsilon as a share of epsilon, is the mean of min(d, eps) / eps, so that breaks at epsilon take nothing.
    None where the threat has no single budget. Stored per cell and per envelope, so that optimality needs no distances.
    """
    if epsilon is None:
        return None
    return float(np.sum(1.0 - _shares(distances, epsilon))) if epsilon > 0 else 0.0


def local_optimality(gain: float | None, best: float | None, examples: int) -> float | None:
    """1 for an attack whose curve is the envelope, 0 for one that takes nothing; None where nobody took a thousandth.

    gain, best: `gained` of the attack and of the envelope, on the same examples, of which there are so many. It falls when
    somebody improves the envelope.
    """
    if gain is None or best is None or best < _LEAST_AREA * max(examples, 1):
        return None
    return min(1.0, max(0.0, gain / best))
