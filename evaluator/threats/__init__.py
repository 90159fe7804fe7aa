"""Threat models: one perturbation set a file, built from a challenge's `[threat]` table by `build`."""

from __future__ import annotations

from evaluator.spec import L2Spec, LinfSpec, ThreatSpec
from evaluator.threats.base import SLACK, Threat
from evaluator.threats.l2 import L2
from evaluator.threats.linf import Linf

__all__ = ["L2", "SLACK", "Linf", "Threat", "build"]


def build(spec: ThreatSpec) -> Threat:
    """The threat a manifest describes."""
    match spec:
        case LinfSpec():
            return Linf(spec.epsilon)
        case L2Spec():
            return L2(spec.epsilon)
