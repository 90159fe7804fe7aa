"""The official ensemble."""

from __future__ import annotations

from evaluator.attacks import FGSM, PGD
from evaluator.ensembles.sequence import Sequence, Stage

STANDARD = Sequence(
    "standard",
    (
        Stage("FGSM", FGSM()),
        Stage("PGD-20, cross-entropy", PGD(steps=20, loss="ce")),
        Stage("PGD-40, margin", PGD(steps=40, loss="margin")),
        Stage("PGD-100, margin, 2 restarts", PGD(steps=100, loss="margin", restarts=2)),
    ),
)


def standard() -> Sequence:
    """The ensemble that gives the official verdict."""
    return STANDARD
