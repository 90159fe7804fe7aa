"""Whether a threat can be had of images of a given shape; what no image has is refused with the manifest. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Iterator

from evaluator.manifests.data_specs import ImageShape
from evaluator.manifests.strict import FieldError
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

Path = tuple[str | int, ...]


def check_fits(threat: ThreatSpec, shape: ImageShape, *at: str | int) -> None:
    """Raises FieldError, naming the field below `at`, for the first budget that images of this shape cannot have."""
    for problem in _misfits(threat, shape, at):
        raise problem


def farthest(kind: str, shape: ImageShape) -> float:
    """The largest distance between two images in the norm of the ball `kind`: linf, l2, l1 or l0."""
    return {"linf": 1.0, "l2": math.sqrt(shape.values), "l1": float(shape.values), "l0": float(shape.pixels)}[kind]


def _misfits(threat: ThreatSpec, shape: ImageShape, at: Path) -> Iterator[FieldError]:
    match threat:
        case LinfSpec() | L2Spec() | L1Spec() | L0Spec():
            yield from _ball(threat, shape, at)
        case UnionSpec():
            for number, member in enumerate(threat.members):
                yield from _misfits(member, shape, (*at, "members", number))
        case SumSpec():
            for number, part in enumerate(threat.parts):
                yield from _misfits(part, shape, (*at, "parts", number))
        case SpatialSpec():
            yield from _displacement(threat.epsilon, shape, (*at, "epsilon"))
        case RotationTranslationSpec():
            yield from _displacement(threat.pixels, shape, (*at, "pixels"))
        case ColorSpec():
            if shape.channels == 1:
                yield FieldError("color maps need color images; those of this data set are gray", *at, "kind")
        case PatchSpec():
            yield from _patch(threat, shape, at)
        case PhysicalSpec():
            yield from _misfits(threat.base, shape, (*at, "base"))
            yield from _displacement(threat.views.translation, shape, (*at, "views", "translation"))
            yield from _displacement(threat.views.blur, shape, (*at, "views", "blur"))
        case CorruptionsSpec():
            pass  # every corruption is defined for images of any size, gray and color


def _ball(threat: LinfSpec | L2Spec | L1Spec | L0Spec, shape: ImageShape, at: Path) -> Iterator[FieldError]:
    largest = farthest(threat.kind, shape)
    if threat.epsilon > largest:
        whole = "the pixels of an image" if threat.kind == "l0" else "the distance of the farthest two images"
        yield FieldError(f"must be at most {largest:g}, {whole}, not {threat.epsilon:g}", *at, "epsilon")


def _displacement(pixels: float, shape: ImageShape, at: Path) -> Iterator[FieldError]:
    if pixels >= shape.side:
        yield FieldError(f"must be less than {shape.side} pixels, the side of an image, not {pixels:g}", *at)


def _patch(threat: PatchSpec, shape: ImageShape, at: Path) -> Iterator[FieldError]:
    if threat.side > shape.side:
        yield FieldError(f"must be at most {shape.side}, as images have {shape} pixels, not {threat.side}", *at, "side")
    elif threat.location is not None:
        for number, (start, size) in enumerate(zip(threat.location, (shape.height, shape.width), strict=True)):
            if start + threat.side > size:
                last = f"at most {size - threat.side} for a patch of side {threat.side} in {shape} pixels"
                yield FieldError(f"must be {last}, not {start}", *at, "location", number)
