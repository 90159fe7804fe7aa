"""A short ensemble, for seasons to look at: it leaves submitted attacks something to find, and proves little."""

from __future__ import annotations

from evaluator.attacks import FGSM, PGD
from evaluator.ensembles.sequence import Sequence, Stage

SHORT = Sequence("short", (Stage("FGSM", FGSM()), Stage("PGD-10, cross-entropy", PGD(steps=10))))
