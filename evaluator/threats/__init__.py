"""Threat models: one perturbation set a file, built from a challenge's `[threat]` table by `build`."""

from __future__ import annotations

from typing import cast

from evaluator.threat_specs import L0Spec, L1Spec, L2Spec, LinfSpec, ThreatSpec, UnionSpec
from evaluator.threats.base import SLACK, Projector, Threat
from evaluator.threats.l0 import L0
from evaluator.threats.l1 import L1
from evaluator.threats.l2 import L2
from evaluator.threats.linf import Linf
from evaluator.threats.union import Ball, Union

__all__ = ["L0", "L1", "L2", "SLACK", "Linf", "Projector", "Threat", "Union", "build"]


def build(spec: ThreatSpec) -> Threat:
    """The threat a manifest describes."""
    match spec:
        case LinfSpec():
            return Linf(spec.epsilon)
        case L2Spec():
            return L2(spec.epsilon)
        case L1Spec():
            return L1(spec.epsilon)
        case L0Spec():
            return L0(spec.epsilon)
        case UnionSpec():
            return Union(tuple(cast(Ball, build(member)) for member in spec.members))
