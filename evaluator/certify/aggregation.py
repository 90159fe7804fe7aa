"""From certified radii to what boards show: certified accuracy at radii, its curve, average certified radius, envelope."""

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


def average_certified_radius(radius: npt.ArrayLike, correct: npt.ArrayLike) -> float:
    """Mean over all examples of the certified radius, 0 where the label is wrong (Zhai et al. 2020, "MACER")."""
    found, right = np.asarray(radius, dtype=np.float64), np.asarray(correct, dtype=bool)
    return float(np.where(right, found, 0.0).mean())


def full_curve(radius: npt.ArrayLike, correct: npt.ArrayLike) -> CertifiedCurve:
    """The step function of certified accuracy: one point at 0 and one at each distinct certified radius."""
    found, right = np.asarray(radius, dtype=np.float64), np.asarray(correct, dtype=bool)
    steps = np.unique(np.concatenate([[0.0], found[right]]))
    return certified_accuracy(found, right, steps.tolist())


def envelope(curves: Sequence[CertifiedCurve]) -> CertifiedCurve:
    """The best of several classifiers at each radius: published tables take the best sigma per radius.

    Raises InputError unless all curves are at the same radii.
    """
    if not curves or any(not np.array_equal(curve.radii, curves[0].radii) for curve in curves):
        raise InputError("an envelope needs at least one curve, all at the same radii.")
    return CertifiedCurve(curves[0].radii, np.max([curve.accuracy for curve in curves], axis=0))
