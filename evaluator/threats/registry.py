"""The one list of threat models: what each is, how it is built from a manifest, where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

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
from evaluator.threats.base import Threat
from evaluator.threats.color import Color
from evaluator.threats.corruptions import Corruptions
from evaluator.threats.l0 import L0
from evaluator.threats.l1 import L1
from evaluator.threats.l2 import L2
from evaluator.threats.linf import Linf
from evaluator.threats.patch import Patch
from evaluator.threats.physical import Base, Physical, Views
from evaluator.threats.rotation_translation import RotationTranslation
from evaluator.threats.spatial import Spatial
from evaluator.threats.sum import Part, Sum
from evaluator.threats.union import Ball, Union


@dataclass(frozen=True)
class Entry:
    """One kind of threat, for people. point: what an attack moves. budget: manifest fields. start: what is uniform."""

    kind: str
    title: str
    point: str
    budget: str
    start: str
    source: str


ENTRIES: tuple[Entry, ...] = (
    Entry("linf", "Linf ball", "image", "`epsilon`, [0, 1] units", "exactly uniform", "Goodfellow et al. 2015"),
    Entry(
        "l2",
        "L2 ball",
        "image",
        "`epsilon`, Euclidean norm",
        "uniform where the box does not cut, and up to 16 dimensions; else reflected at the box",
        "Szegedy et al. 2014",
    ),
    Entry("l1", "L1 ball", "image", "`epsilon`, sum of changes", "as l2", "Chen et al. 2018; Tramer and Boneh 2019"),
    Entry("l0", "L0 ball", "image", "`epsilon`, whole pixels", "exactly uniform", "Papernot et al. 2016"),
    Entry("union", "union of Lp balls", "image", "`members`", "fair choice of member", "Tramer and Boneh 2019"),
    Entry(
        "spatial",
        "spatial flow",
        "flow (2, H, W), pixels",
        "`epsilon`, longest displacement (Euclidean); `border`",
        "exactly uniform",
        "Xiao et al. 2018 (stAdv)",
    ),
    Entry(
        "rotation-translation",
        "rotation and translation",
        "3 numbers: degrees, pixels, pixels",
        "`degrees`, `pixels`, `border`",
        "exactly uniform",
        "Engstrom et al. 2019",
    ),
    Entry(
        "color",
        "functional color map",
        "displacements on a grid of colors",
        "`epsilon`, `smoothness`, `nodes`",
        "Gibbs chain, stationary law uniform",
        "Laidlaw and Feizi 2019 (ReColorAdv)",
    ),
    Entry("sum", "several at once", "the parts' points in planes", "`parts`", "as the parts", "Laidlaw and Feizi 2019"),
    Entry(
        "patch",
        "square patch",
        "image",
        "`side`; `location` or anywhere; `epsilon`",
        "exactly uniform for epsilon 1",
        "Brown et al. 2017; Karmon et al. 2018",
    ),
    Entry(
        "physical",
        "success in expectation over views",
        "the base's",
        "`base`, `views`, `samples`, `threshold`",
        "the base's",
        "Athalye et al. 2018; Eykholt et al. 2018",
    ),
    Entry(
        "corruptions",
        "worst of common corruptions",
        "2 numbers: kind, realization",
        "`severity` 1 to 5, `kinds`, `realizations`",
        "exactly uniform",
        "Hendrycks and Dietterich 2019",
    ),
)


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
        case SpatialSpec():
            return Spatial(spec.epsilon, border=spec.border)
        case RotationTranslationSpec():
            return RotationTranslation(spec.degrees, spec.pixels, border=spec.border)
        case ColorSpec():
            smoothness = spec.epsilon if spec.smoothness is None else spec.smoothness
            return Color(spec.epsilon, smoothness, nodes=spec.nodes)
        case SumSpec():
            return Sum(tuple(cast(Part, build(part)) for part in spec.parts))
        case PatchSpec():
            return Patch(spec.side, spec.epsilon, location=spec.location)
        case PhysicalSpec():
            base = cast(Base, build(spec.base))
            return Physical(base, Views(**spec.views.model_dump()), samples=spec.samples, threshold=spec.threshold)
        case CorruptionsSpec():
            return Corruptions(spec.severity, spec.kinds, realizations=spec.realizations)


def table() -> str:
    """The threat models as a Markdown table, for docs/threats.md."""
    head = "| kind | threat | point | budget | random start | source |\n|---|---|---|---|---|---|\n"
    rows = (f"| `{e.kind}` | {e.title} | {e.point} | {e.budget} | {e.start} | {e.source} |\n" for e in ENTRIES)
    return head + "".join(rows)
