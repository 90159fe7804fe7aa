"""A challenge's `[threat]` table, validated: one class a kind, balls in `ball_specs`. Torch-free: the web reads this.

A class says what its kind allows; `register` puts it on the list, and nothing else names it. The threat that it names, one
file in `evaluator/threats/`, says the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from evaluator.manifests.ball_specs import BallSpec, L0Spec, L1Spec, L2Spec, LinfSpec, UnionSpec
from evaluator.manifests.data_specs import ImageShape
from evaluator.manifests.kinds import register
from evaluator.manifests.strict import FieldError, Real, Strict
from evaluator.manifests.threat_base import About, InSum, Path, ThreatSpec, UnderViews, displaced, threat_kinds

__all__ = [
    "BallSpec",
    "ColorSpec",
    "CorruptionKind",
    "CorruptionsSpec",
    "L0Spec",
    "L1Spec",
    "L2Spec",
    "LinfSpec",
    "PatchSpec",
    "PhysicalSpec",
    "RotationTranslationSpec",
    "SpatialSpec",
    "SumSpec",
    "ThreatSpec",
    "UnionSpec",
    "ViewsSpec",
    "threat_kinds",
]

Border = Literal["zeros", "edge"]


@register
class SpatialSpec(InSum):
    """A flow field: every pixel is read from at most `epsilon` pixels (Euclidean) away."""

    about = About(
        "spatial flow",
        "flow (2, H, W), pixels",
        "`epsilon`, longest displacement (Euclidean); `border`",
        "exactly uniform",
        "Xiao et al. 2018 (stAdv)",
    )
    threat = "evaluator.threats.spatial:Spatial"
    kind: Literal["spatial"]
    epsilon: Real = Field(gt=0, le=100)
    border: Border = "edge"

    @property
    def words(self) -> str:
        return f"flow ≤ {self.epsilon:g} pixels"

    def misfits(self, shape: ImageShape, at: Path) -> Iterator[FieldError]:
        yield from displaced(self.epsilon, shape, (*at, "epsilon"))


@register
class RotationTranslationSpec(InSum):
    """One rotation by at most `degrees` and one translation by at most `pixels` down and across."""

    about = About(
        "rotation and translation",
        "3 numbers: degrees, pixels, pixels",
        "`degrees`, `pixels`, `border`",
        "exactly uniform",
        "Engstrom et al. 2019",
    )
    threat = "evaluator.threats.rotation_translation:RotationTranslation"
    kind: Literal["rotation-translation"]
    degrees: Real = Field(ge=0, le=180)
    pixels: Real = Field(ge=0, le=1000)
    border: Border = "zeros"

    @model_validator(mode="after")
    def _moves(self) -> Self:
        if self.degrees + self.pixels == 0:
            raise FieldError("degrees and pixels must not both be 0", "degrees")
        return self

    @property
    def words(self) -> str:
        return f"rotation ≤ {self.degrees:g}°, translation ≤ {self.pixels:g} pixels"

    def misfits(self, shape: ImageShape, at: Path) -> Iterator[FieldError]:
        yield from displaced(self.pixels, shape, (*at, "pixels"))


@register
class ColorSpec(InSum):
    """One map of colors for the whole image: any channel changes by at most `epsilon`, neighboring nodes' changes differ
    by at most `smoothness` (default epsilon)."""

    about = About(
        "functional color map",
        "displacements on a grid of colors",
        "`epsilon`, `smoothness`, `nodes`",
        "Gibbs chain, stationary law uniform",
        "Laidlaw and Feizi 2019 (ReColorAdv)",
    )
    threat = "evaluator.threats.color:Color"
    kind: Literal["color"]
    epsilon: Real = Field(gt=0, le=1)
    smoothness: Real | None = Field(default=None, gt=0, le=2)
    nodes: int = Field(default=8, ge=2, le=32)

    @property
    def words(self) -> str:
        return f"color map ≤ {self.epsilon:g}"

    def misfits(self, shape: ImageShape, at: Path) -> Iterator[FieldError]:
        if shape.channels == 1:
            yield FieldError("color maps need color images; those of this data set are gray", *at, "kind")


@register
class SumSpec(ThreatSpec):
    """Several threats at once, applied in the order of `parts`, each with its own budget; a ball adds to the result."""

    about = About("several at once", "the parts' points in planes", "`parts`", "as the parts", "Laidlaw and Feizi 2019")
    threat = "evaluator.threats.sum:Sum"
    kind: Literal["sum"]
    parts: tuple[InSum, ...] = Field(min_length=2, max_length=8)

    @property
    def words(self) -> str:
        return " and ".join(part.words for part in self.parts)

    def misfits(self, shape: ImageShape, at: Path) -> Iterator[FieldError]:
        for number, part in enumerate(self.parts):
            yield from part.misfits(shape, (*at, "parts", number))


@register
class PatchSpec(UnderViews):
    """One square of `side` pixels may change, anywhere or at `location` (row, column of its first pixel)."""

    about = About(
        "square patch",
        "image",
        "`side`; `location` or anywhere; `epsilon`",
        "exactly uniform for epsilon 1",
        "Brown et al. 2017; Karmon et al. 2018",
    )
    threat = "evaluator.threats.patch:Patch"
    inputs = True
    kind: Literal["patch"]
    side: int = Field(ge=1, le=1000)
    epsilon: Real = Field(default=1.0, gt=0, le=1)
    location: tuple[int, int] | None = None

    @model_validator(mode="after")
    def _inside(self) -> Self:
        if self.location is not None and min(self.location) < 0:
            number = 0 if self.location[0] < 0 else 1
            raise FieldError(f"must be at least 0, not {self.location[number]}", "location", number)
        return self

    @property
    def words(self) -> str:
        return f"patch of {self.side} × {self.side} pixels"

    def misfits(self, shape: ImageShape, at: Path) -> Iterator[FieldError]:
        if self.side > shape.side:
            yield FieldError(f"must be at most {shape.side}, as images have {shape} pixels, not {self.side}", *at, "side")
        elif self.location is not None:
            for number, (start, size) in enumerate(zip(self.location, (shape.height, shape.width), strict=True)):
                if start + self.side > size:
                    last = f"at most {size - self.side} for a patch of side {self.side} in {shape} pixels"
                    yield FieldError(f"must be {last}, not {start}", *at, "location", number)


class ViewsSpec(Strict):
    """The ranges of random views: see `evaluator.threats.physical.Views`."""

    rotation: Real = Field(default=10.0, ge=0, le=180)
    translation: Real = Field(default=1.0, ge=0, le=1000)
    scale: Real = Field(default=0.1, ge=0, le=0.9)
    shear: Real = Field(default=0.05, ge=0, le=0.9)
    perspective: Real = Field(default=0.1, ge=0, le=0.4)
    brightness: Real = Field(default=0.1, ge=0, le=1)
    contrast: Real = Field(default=0.2, ge=0, le=1)
    blur: Real = Field(default=0.7, ge=0, le=100)
    border: Border = "edge"


@register
class PhysicalSpec(ThreatSpec):
    """A perturbation within `base` that succeeds on a share `threshold` of `samples` random views."""

    about = About(
        "success in expectation over views",
        "the base's",
        "`base`, `views`, `samples`, `threshold`",
        "the base's",
        "Athalye et al. 2018; Eykholt et al. 2018",
    )
    threat = "evaluator.threats.physical:Physical"
    kind: Literal["physical"]
    base: UnderViews
    views: ViewsSpec = ViewsSpec()
    samples: int = Field(default=32, ge=1, le=10_000)
    threshold: Real = Field(default=0.5, gt=0, le=1)

    @property
    def words(self) -> str:
        return f"{self.base.words}, over random views"

    def misfits(self, shape: ImageShape, at: Path) -> Iterator[FieldError]:
        yield from self.base.misfits(shape, (*at, "base"))
        yield from displaced(self.views.translation, shape, (*at, "views", "translation"))
        yield from displaced(self.views.blur, shape, (*at, "views", "blur"))


CorruptionKind = Literal[
    "gaussian-noise",
    "shot-noise",
    "impulse-noise",
    "defocus-blur",
    "glass-blur",
    "motion-blur",
    "zoom-blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic",
    "pixelate",
    "jpeg",
]


@register
class CorruptionsSpec(ThreatSpec):
    """The worst of common corruptions: any of `kinds` in that many random `realizations`, at one `severity` or at each from the
    lowest to the highest, such as [1, 5]."""

    about = About(
        "worst of common corruptions",
        "3 numbers: kind, severity, realization",
        "`severity` 1 to 5, or `[1, 5]`; `kinds`, `realizations`",
        "exactly uniform",
        "Hendrycks and Dietterich 2019",
    )
    threat = "evaluator.threats.corruptions:Corruptions"
    kind: Literal["corruptions"]
    severity: int | tuple[int, int]
    kinds: tuple[CorruptionKind, ...] = Field(default=get_args(CorruptionKind), min_length=1, max_length=15)
    realizations: int = Field(default=1, ge=1, le=1000)

    @field_validator("severity", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        given = list(value) if isinstance(value, tuple) else value  # a manifest has tuples, a stored pack lists
        ends = given if isinstance(given, list) and len(given) == 2 else [given] * 2
        if not all(type(end) is int and 1 <= end <= 5 for end in ends):
            raise ValueError(f"must be a whole number from 1 to 5, or the lowest and the highest, such as [1, 5], not {given}")
        if ends[0] > ends[1]:
            raise ValueError(f"the lowest severity, {ends[0]}, is above the highest, {ends[1]}")
        return tuple(ends) if isinstance(given, list) else given

    @model_validator(mode="after")
    def _different(self) -> Self:
        for number, kind in enumerate(self.kinds):
            if kind in self.kinds[:number]:
                raise FieldError(f'"{kind}" is there twice', "kinds", number)
        return self

    @property
    def words(self) -> str:
        severity = (
            f"severity {self.severity}" if isinstance(self.severity, int) else "severities {} to {}".format(*self.severity)
        )
        return f"{len(self.kinds)} common corruptions, {severity}"
