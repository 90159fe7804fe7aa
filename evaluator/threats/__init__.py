"""Threat models: one perturbation set a file, built from a challenge's `[threat]` table by `build`."""

from __future__ import annotations

from evaluator.threats.base import SLACK, Projector, Threat
from evaluator.threats.color import Color
from evaluator.threats.corruptions import Corruptions
from evaluator.threats.l0 import L0
from evaluator.threats.l1 import L1
from evaluator.threats.l2 import L2
from evaluator.threats.linf import Linf
from evaluator.threats.patch import Patch
from evaluator.threats.physical import Physical, Views
from evaluator.threats.registry import build, table
from evaluator.threats.rotation_translation import RotationTranslation
from evaluator.threats.spatial import Spatial
from evaluator.threats.sum import Sum
from evaluator.threats.traits import Trait
from evaluator.threats.union import Union

__all__ = [
    "L0",
    "L1",
    "L2",
    "SLACK",
    "Color",
    "Corruptions",
    "Linf",
    "Patch",
    "Physical",
    "Projector",
    "RotationTranslation",
    "Spatial",
    "Sum",
    "Threat",
    "Trait",
    "Union",
    "Views",
    "build",
    "table",
]
