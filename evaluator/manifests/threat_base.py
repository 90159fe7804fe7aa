"""What a challenge's `[threat]` table says about its kind, whatever the kind. Torch-free: the web reads this."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evaluator.manifests.data_specs import ImageShape
from evaluator.manifests.kinds import Kinded
from evaluator.manifests.strict import FieldError

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class About:
    """A kind of threat for people. point: what an attack moves; budget: manifest fields; start: what is uniform."""

    title: str
    point: str
    budget: str
    start: str
    source: str


class ThreatSpec(Kinded):
    """Base of all kinds of threat; as the type of a field it stands for every one of them.

    about: the kind's row in the documentation. threat: "module:Class", the threat that `evaluator.threats.build` makes of it.
    inputs: its points are inputs of the model, so that a query itself shows whether it is in the set. norm: how people
    write its norm where it is a ball that certificates and dense climbs speak of, "" elsewhere.
    """

    registry: ClassVar[dict[str, type[Kinded]]] = {}
    about: ClassVar[About]
    threat: ClassVar[str]
    inputs: ClassVar[bool] = False
    norm: ClassVar[str] = ""

    if TYPE_CHECKING:
        kind: str

    @property
    def words(self) -> str:
        """The perturbation set, as "L∞ ≤ 0.3"; images always stay in [0, 1]."""
        raise NotImplementedError

    def misfits(self, shape: ImageShape, at: Path) -> Iterator[FieldError]:
        """What images of this shape cannot have, the fields named below the path `at`; nothing by default."""
        yield from ()

    @classmethod
    def farthest(cls, shape: ImageShape) -> float:
        """The largest distance between two images of that shape in this kind's norm; balls only."""
        raise NotImplementedError


class InUnion(ThreatSpec):
    """Kinds that a union may have as members."""


class InSum(ThreatSpec):
    """Kinds that a sum may have as parts."""


class UnderViews(ThreatSpec):
    """Kinds that a physical threat may have as its base."""


def threat_kinds() -> dict[str, type[ThreatSpec]]:
    """Every kind of threat, in the order in which they are documented."""
    kinds: dict[str, type[ThreatSpec]] = ThreatSpec.choices()
    return kinds


def displaced(pixels: float, shape: ImageShape, at: Path) -> Iterator[FieldError]:
    """What is wrong with moving an image of that shape by so many pixels."""
    if pixels >= shape.side:
        yield FieldError(f"must be less than {shape.side} pixels, the side of an image, not {pixels:g}", *at)
