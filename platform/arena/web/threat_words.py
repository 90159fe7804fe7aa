"""Threats put into words, one line each."""

from __future__ import annotations

from evaluator.manifests.threat_specs import (
    ColorSpec,
    CorruptionsSpec,
    L0Spec,
    L1Spec,
    L2Spec,
    LinfSpec,
    PatchSpec,
    PhysicalSpec,
    RotationTranslationSpec,
    SpatialSpec,
    SumSpec,
    ThreatSpec,
    UnionSpec,
)


def threat_words(threat: ThreatSpec) -> str:
    """The perturbation set, as "L∞ ≤ 0.3" or "rotation ≤ 30°, translation ≤ 3 pixels"; images always stay in [0, 1]."""
    match threat:
        case LinfSpec():
            return f"L∞ ≤ {threat.epsilon:g}"
        case L2Spec():
            return f"L2 ≤ {threat.epsilon:g}"
        case L1Spec():
            return f"L1 ≤ {threat.epsilon:g}"
        case L0Spec():
            return f"L0 ≤ {threat.epsilon} pixels"
        case UnionSpec():
            return " or ".join(threat_words(member) for member in threat.members)
        case SumSpec():
            return " and ".join(threat_words(part) for part in threat.parts)
        case SpatialSpec():
            return f"flow ≤ {threat.epsilon:g} pixels"
        case RotationTranslationSpec():
            return f"rotation ≤ {threat.degrees:g}°, translation ≤ {threat.pixels:g} pixels"
        case ColorSpec():
            return f"color map ≤ {threat.epsilon:g}"
        case PatchSpec():
            return f"patch of {threat.side} × {threat.side} pixels"
        case CorruptionsSpec():
            return f"{len(threat.kinds)} common corruptions, severity {threat.severity}"
        case PhysicalSpec():
            return f"{threat_words(threat.base)}, over random views"
        case CorruptionsSpec():
            return f"{len(threat.kinds)} common corruptions at severity {threat.severity}"
