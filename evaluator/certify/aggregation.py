"""From certified radii to the curve of certified accuracy that papers print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluator.certify.binomial import Array
from evaluator.errors import InputError


@dataclass(frozen=True)
class CertifiedCurve:
    """Certified accuracy (shares in [0, 1]) at increasing radii."""

    radii: Array
    accuracy: Array

    def percent(self) -> list[float]:
        """Accuracies in percent with one decimal, as tables print them."""
        return [round(100 * float(value), 1) for value in self.accuracy]


def certified_accuracy(radius: npt.ArrayLike, correct: npt.ArrayLike, radii: Sequence[float]) -> CertifiedCurve:
    """Share of all examples that are correct with a certified radius of at least r, for every r in `radii`.

    radius: (n,) certified L2 radii, >= 0; correct: (n,) bool, the certified label is the true one. A certificate of
    radius R excludes every change strictly closer than R, and radii come rounded down, so R >= r counts.
    Raises InputError on shapes that do not fit or radii that are negative or not finite.
    """
    found, right = np.asarray(radius, dtype=np.float64), np.asarray(correct, dtype=bool)
    asked = np.asarray(radii, dtype=np.float64)
    if found.ndim != 1 or found.shape != right.shape or not len(found):
        raise InputError(f"radius {found.shape} and correct {right.shape} must be equally long vectors, not empty.")
    if not np.isfinite(asked).all() or (asked < 0).any() or np.isnan(found).any():
        raise InputError("radii must be finite and at least 0.")
    share = (right[:, None] & (found[:, None] >= asked[None, :])).mean(axis=0)
    return CertifiedCurve(asked, share)
