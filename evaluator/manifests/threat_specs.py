"""A challenge's `[threat]` table, validated: one class a kind. Torch-free: the web reads this."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from evaluator.manifests.strict import FieldError, Real, Strict

Border = Literal["zeros", "edge"]


class LinfSpec(Strict):
    """Linf ball of radius `epsilon` (in [0, 1] pixel units) intersected with the [0, 1] box."""

    kind: Literal["linf"]
    epsilon: Real = Field(gt=0, le=1)


class L2Spec(Strict):
    """L2 ball of radius `epsilon` (Euclidean norm over all pixels, [0, 1] units) intersected with the [0, 1] box."""

    kind: Literal["l2"]
    epsilon: Real = Field(gt=0, le=1000)


class L1Spec(Strict):
    """L1 ball of radius `epsilon` (sum of absolute changes, [0, 1] units) intersected with the [0, 1] box."""

    kind: Literal["l1"]
    epsilon: Real = Field(gt=0, le=1_000_000)


class L0Spec(Strict):
    """At most `epsilon` pixels change, each by anything; a pixel is all channels of one position."""

    kind: Literal["l0"]
    epsilon: int = Field(gt=0, le=1_000_000, strict=True)


BallSpec = Annotated[LinfSpec | L2Spec | L1Spec | L0Spec, Field(discriminator="kind")]


class UnionSpec(Strict):
    """Any one of the `members` balls, the adversary's choice for each example."""

    kind: Literal["union"]
    members: tuple[BallSpec, ...] = Field(min_length=2, max_length=8)


class SpatialSpec(Strict):
    """A flow field: every pixel is read from at most `epsilon` pixels (Euclidean) away."""

    kind: Literal["spatial"]
    epsilon: Real = Field(gt=0, le=100)
    border: Border = "edge"


class RotationTranslationSpec(Strict):
    """One rotation by at most `degrees` and one translation by at most `pixels` down and across."""

    kind: Literal["rotation-translation"]
    degrees: Real = Field(ge=0, le=180)
    pixels: Real = Field(ge=0, le=1000)
    border: Border = "zeros"

    @model_validator(mode="after")
    def _moves(self) -> Self:
        if self.degrees + self.pixels == 0:
            raise FieldError("degrees and pixels must not both be 0", "degrees")
        return self


class ColorSpec(Strict):
    """One map of colors for the whole image: any channel changes by at most `epsilon`, neighboring nodes' changes differ
    by at most `smoothness` (default epsilon)."""

    kind: Literal["color"]
    epsilon: Real = Field(gt=0, le=1)
    smoothness: Real | None = Field(default=None, gt=0, le=2)
    nodes: int = Field(default=8, ge=2, le=32)


AdditiveSpec = LinfSpec | L2Spec | L1Spec
PartSpec = Annotated[AdditiveSpec | SpatialSpec | RotationTranslationSpec | ColorSpec, Field(discriminator="kind")]


class SumSpec(Strict):
    """Several threats at once, applied in the order of `parts`, each with its own budget; a ball adds to the result."""

    kind: Literal["sum"]
    parts: tuple[PartSpec, ...] = Field(min_length=2, max_length=8)


class PatchSpec(Strict):
    """One square of `side` pixels may change, anywhere or at `location` (row, column of its first pixel)."""

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


class PhysicalSpec(Strict):
    """A perturbation within `base` that succeeds on a share `threshold` of `samples` random views."""

    kind: Literal["physical"]
    base: Annotated[AdditiveSpec | PatchSpec, Field(discriminator="kind")]
    views: ViewsSpec = ViewsSpec()
    samples: int = Field(default=32, ge=1, le=10_000)
    threshold: Real = Field(default=0.5, gt=0, le=1)


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


class CorruptionsSpec(Strict):
    """The worst of common corruptions: any of `kinds` at one `severity`, each in that many random `realizations`."""

    kind: Literal["corruptions"]
    severity: int = Field(ge=1, le=5)
    kinds: tuple[CorruptionKind, ...] = Field(default=get_args(CorruptionKind), min_length=1, max_length=15)
    realizations: int = Field(default=1, ge=1, le=1000)

    @model_validator(mode="after")
    def _different(self) -> Self:
        for number, kind in enumerate(self.kinds):
            if kind in self.kinds[:number]:
                raise FieldError(f'"{kind}" is there twice', "kinds", number)
        return self


ThreatSpec = Annotated[
    LinfSpec
    | L2Spec
    | L1Spec
    | L0Spec
    | UnionSpec
    | SpatialSpec
    | RotationTranslationSpec
    | ColorSpec
    | SumSpec
    | PatchSpec
    | PhysicalSpec
    | CorruptionsSpec,
    Field(discriminator="kind"),
]
