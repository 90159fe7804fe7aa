"""Several threats at once, each with its own budget: a color map, then a flow, then a small additive perturbation.

Laidlaw and Feizi 2019, "Functional Adversarial Attacks", sec. 5 (combined threat models).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.manifests.threat_base import ThreatSpec
from evaluator.manifests.threat_specs import SumSpec
from evaluator.threats.balls import Ball
from evaluator.threats.base import Threat, flat
from evaluator.threats.registry import build
from evaluator.threats.sampling import pixel_grid
from evaluator.threats.traits import Trait


@dataclass(frozen=True)
class Sum(Threat):
    """Applies `parts` in their order; an Lp ball adds a perturbation from the ball around zero and clips to [0, 1].

    A point is (n, planes, H, W): each part's own point fills whole planes of the image's size, one part after another,
    padded with zeros. Distances and step sizes are shares of each part's epsilon, of which the largest counts, so epsilon
    is 1.
    """

    parts: tuple[Threat, ...]
    epsilon = 1.0
    kind = "sum"
    traits = frozenset({Trait.WHOLE})

    def __post_init__(self) -> None:
        if len(self.parts) < 2:
            raise InputError("a sum needs at least two parts.", where="threat sum")

    @classmethod
    def of(cls, spec: ThreatSpec) -> Self:
        assert isinstance(spec, SumSpec)
        return cls(tuple(build(part) for part in spec.parts))

    def start(self, x: Tensor) -> Tensor:
        pixel_grid(x)
        return self.join([member.start(self._center(member, x)) for member in self._members], x)

    def apply(self, x: Tensor, z: Tensor) -> Tensor:
        """Renders the parts one after another; the zero point gives x bit for bit."""
        image = x
        for member, part in zip(self._members, self.split(z), strict=True):
            image = (image + part).clamp(0, 1) if isinstance(member, Ball) else member.apply(image, part)
        return image

    def split(self, z: Tensor) -> list[Tensor]:
        """The parts' own points: for a ball the perturbation (n, C, H, W), else as the part's `start` is shaped."""
        height, width = z.shape[2:]
        pieces, first = [], 0
        for shape in self._shapes(z):
            planes = _planes(shape, height * width)
            piece = z[:, first : first + planes].flatten(1)[:, : math.prod(shape)]
            pieces.append(piece.reshape(len(z), *shape))
            first += planes
        return pieces

    def join(self, points: list[Tensor], image: Tensor) -> Tensor:
        """The point made of the parts' own points; `image` is any tensor (n, planes, H, W) of the images' size."""
        pixels = image.shape[2] * image.shape[3]
        planes = [_planes(tuple(point.shape[1:]), pixels) for point in points]
        filled = [
            functional.pad(flat(point), (0, count * pixels - flat(point).shape[1]))
            for point, count in zip(points, planes, strict=True)
        ]
        return torch.cat(filled, dim=1).reshape(len(image), sum(planes), *image.shape[2:])

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        """The nearest point: the set is the product of the parts' sets."""
        pairs = zip(self._members, self.split(z), strict=True)
        return self.join([member.project(self._center(member, x), part) for member, part in pairs], x)

    def random_start(self, x: Tensor, draws: Draws) -> Tensor:
        """Each part's own random start, independently: as uniform as the parts' are."""
        starts = [member.random_start(self._center(member, x), draws) for member in self._members]
        return self.join(starts, x)

    def steepest_step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        """Each part's own steepest step, of `size` times its epsilon."""
        pairs = zip(self._members, self.split(gradient), strict=True)
        return self.join([member.steepest_step(part, size * member.epsilon) for member, part in pairs], gradient)

    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        """(n,) float64: the largest of the parts' distances, each as a share of its epsilon; infinite if padding is used."""
        pairs = zip(self._members, self.split(z), strict=True)
        shares = [member.distance(self._center(member, x), part) / member.epsilon for member, part in pairs]
        unused = flat(self.join(self.split(z), z) != z).any(dim=1)
        return torch.where(unused, torch.inf, torch.stack(shares).amax(dim=0))

    @functools.cached_property
    def _members(self) -> tuple[Threat, ...]:
        """The parts, the balls among them freed of the image box: `apply` clips the rendered sum instead."""
        return tuple(part.around_zero() if isinstance(part, Ball) else part for part in self.parts)

    @staticmethod
    def _center(member: Threat, x: Tensor) -> Tensor:
        """What a part's point is measured from: zero for a perturbation."""
        return torch.zeros_like(x) if isinstance(member, Ball) else x

    def _shapes(self, z: Tensor) -> tuple[tuple[int, ...], ...]:
        """The parts' point shapes, from the number of planes alone: only one number of image channels gives it."""
        shapes = _shapes(self, *z.shape[1:])
        if shapes is None:
            raise InputError(f"{tuple(z.shape)} are not points of this sum.", help="They are shaped as threat.start(x) is.")
        return shapes


@functools.lru_cache(maxsize=64)
def _shapes(threat: Sum, planes: int, height: int, width: int) -> tuple[tuple[int, ...], ...] | None:
    for channels in range(1, planes + 1):
        image = torch.empty(1, channels, height, width, device="meta")
        shapes = tuple(tuple(member.start(image).shape[1:]) for member in threat._members)
        if sum(_planes(shape, height * width) for shape in shapes) == planes:
            return shapes
    return None


def _planes(shape: tuple[int, ...], pixels: int) -> int:
    """How many planes of the image's size a point of this shape fills."""
    return -(-math.prod(shape) // pixels)
