"""The `[threat]` tables of Lp balls and of unions of them. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from evaluator.manifests.data_specs import ImageShape
from evaluator.manifests.kinds import register
from evaluator.manifests.strict import FieldError, Real
from evaluator.manifests.threat_base import About, InSum, InUnion, Path, ThreatSpec, UnderViews


class BallSpec(ThreatSpec):
    """Base of the balls. whole: what `farthest` is, in words."""

    inputs = True
    whole: ClassVar[str] = "the distance of the farthest two images"

    if TYPE_CHECKING:
        epsilon: float

    @property
    def words(self) -> str:
        return f"{self.norm} ≤ {self.epsilon:g}"

    def misfits(self, shape: ImageShape, at: Path) -> Iterator[FieldError]:
        largest = self.farthest(shape)
        if self.epsilon > largest:
            yield FieldError(f"must be at most {largest:g}, {self.whole}, not {self.epsilon:g}", *at, "epsilon")


@register
class LinfSpec(BallSpec, InUnion, InSum, UnderViews):
    """Linf ball of radius `epsilon` (in [0, 1] pixel units) intersected with the [0, 1] box."""

    about = About("Linf ball", "image", "`epsilon`, [0, 1] units", "exactly uniform", "Goodfellow et al. 2015")
    threat = "evaluator.threats.linf:Linf"
    norm = "L∞"
    kind: Literal["linf"]
    epsilon: Real = Field(gt=0, le=1)

    @classmethod
    def farthest(cls, shape: ImageShape) -> float:
        return 1.0


@register
class L2Spec(BallSpec, InUnion, InSum, UnderViews):
    """L2 ball of radius `epsilon` (Euclidean norm over all pixels, [0, 1] units) intersected with the [0, 1] box."""

    about = About(
        "L2 ball",
        "image",
        "`epsilon`, Euclidean norm",
        "uniform where the box does not cut, and up to 16 dimensions; else reflected at the box",
        "Szegedy et al. 2014",
    )
    threat = "evaluator.threats.l2:L2"
    norm = "L2"
    kind: Literal["l2"]
    epsilon: Real = Field(gt=0, le=1000)

    @classmethod
    def farthest(cls, shape: ImageShape) -> float:
        return math.sqrt(shape.values)


@register
class L1Spec(BallSpec, InUnion, InSum, UnderViews):
    """L1 ball of radius `epsilon` (sum of absolute changes, [0, 1] units) intersected with the [0, 1] box."""

    about = About("L1 ball", "image", "`epsilon`, sum of changes", "as l2", "Chen et al. 2018; Tramer and Boneh 2019")
    threat = "evaluator.threats.l1:L1"
    norm = "L1"
    kind: Literal["l1"]
    epsilon: Real = Field(gt=0, le=1_000_000)

    @classmethod
    def farthest(cls, shape: ImageShape) -> float:
        return float(shape.values)


@register
class L0Spec(BallSpec, InUnion):
    """At most `epsilon` pixels change, each by anything; a pixel is all channels of one position."""

    about = About("L0 ball", "image", "`epsilon`, whole pixels", "exactly uniform", "Papernot et al. 2016")
    threat = "evaluator.threats.l0:L0"
    whole = "the pixels of an image"
    kind: Literal["l0"]
    epsilon: int = Field(gt=0, le=1_000_000, strict=True)

    @property
    def words(self) -> str:
        return f"L0 ≤ {self.epsilon} pixels"

    @classmethod
    def farthest(cls, shape: ImageShape) -> float:
        return float(shape.pixels)


@register
class UnionSpec(ThreatSpec):
    """Any one of the `members` balls, the adversary's choice for each example."""

    about = About("union of Lp balls", "image", "`members`", "fair choice of member", "Tramer and Boneh 2019")
    threat = "evaluator.threats.union:Union"
    inputs = True
    kind: Literal["union"]
    members: tuple[InUnion, ...] = Field(min_length=2, max_length=8)

    @property
    def words(self) -> str:
        return " or ".join(member.words for member in self.members)

    def misfits(self, shape: ImageShape, at: Path) -> Iterator[FieldError]:
        for number, member in enumerate(self.members):
            yield from member.misfits(shape, (*at, "members", number))
