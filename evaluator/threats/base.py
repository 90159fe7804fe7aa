"""The threat algebra: what a perturbation set must be able to do, so that one attack serves every threat.

A threat is a set P(x) of inputs together with a parametrisation: a *point* z describes a perturbation, `apply(x, z)`
renders it. For Lp balls the point is the adversarial input itself and `apply` the identity. For a flow field or a colour
map it is the field or map, an (n, ...) tensor of its own shape. Attacks move points and claims are points: the scorer
checks `contains(x, z)` in float64 and classifies `apply(x, z)`. All batches are NCHW (any trailing shape works where
no image is needed), float32, in [0, 1].

On the CPU every method treats each row of a batch as if it were alone, bit for bit.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Self, TypeVar

import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.manifests.threat_base import ThreatSpec
from evaluator.threats.traits import Trait

SLACK = 1e-6  # claims may exceed the budget by this much (float32 rounding of third-party attacks); ours never do
_MARGIN = 1 - 2.0**-40  # covers the float64 rounding of a sum of up to a million terms
_PART = 1 << 16  # elements: half a MiB in float64
_WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class Projector:
    """`threat.project` at inputs that stay the same for many steps; `projector[keep]` follows the active examples."""

    def __init__(self, threat: Threat, x: Tensor) -> None:
        self._threat, self._x = threat, x

    def __call__(self, z: Tensor) -> Tensor:
        """Equal to threat.project(x, z), bit for bit."""
        return self._threat.project(self._x, z)

    def __getitem__(self, keep: Tensor | slice) -> Projector:
        """The projector of a part of the examples (boolean mask, index tensor or slice)."""
        return Projector(self._threat, self._x[keep])


class Threat(ABC):
    """A perturbation set P(x) inside the [0, 1] box. Instances are frozen dataclasses with an `epsilon`.

    kind: as in its manifest class. traits: what attacks and checks may count on. search: by name, the official search that
    it gets (`evaluator.ensembles.standard.SEARCHES`). box: the interval of every coordinate. (0, 1) for images; (-1, 1)
    around zero makes the ball of perturbations that `Sum` adds to a rendered image.
    """

    kind: str
    epsilon: float
    traits: ClassVar[frozenset[Trait]] = frozenset()
    search: ClassVar[str] = "points"
    box: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def of(cls, spec: ThreatSpec) -> Self:
        """The threat that a manifest describes; by default the table's fields are the class's."""
        return cls(**{name: getattr(spec, name) for name in type(spec).model_fields if name != "kind"})

    def start(self, x: Tensor) -> Tensor:
        """The point of no perturbation: apply(x, start(x)) == x."""
        return x.clone()

    def apply(self, x: Tensor, z: Tensor) -> Tensor:
        """Renders points z at x: (n, *shape) in [0, 1], differentiable in z."""
        return z

    @abstractmethod
    def project(self, x: Tensor, z: Tensor) -> Tensor:
        """The nearest point of the set; inside in float64 too, bit for bit idempotent."""

    def fixed(self, x: Tensor) -> Projector:
        """`project` with x bound, for inner loops: whatever depends on x alone is computed once."""
        return Projector(self, x)

    @abstractmethod
    def random_start(self, x: Tensor, draws: Draws) -> Tensor:
        """A point drawn from the whole set, not merely its boundary; each class says what is exactly uniform."""

    @abstractmethod
    def steepest_step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        """The move of norm `size` (in this threat's own norm) with the largest inner product with `gradient`.

        size: a float or an (n,) tensor. A zero gradient gives a zero move, never NaN.
        """

    @abstractmethod
    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        """(n,) float64: how far z is from no perturbation, in the units of epsilon."""

    def balls(self) -> list[tuple[float, float]]:
        """(p, radius) of Lp balls that together hold the set; none where points are no inputs."""
        return []

    def resized(self, epsilon: float) -> Self:
        """The same threat with another epsilon; for those that are `Trait.RESIZABLE`."""
        return dataclasses.replace(self, epsilon=epsilon)  # type: ignore[type-var]

    def covering(self, features: int) -> Self:
        """The same threat so large that it leads from every image of so many values to every other; as `resized`."""
        raise NotImplementedError(f"no epsilon makes a {self.kind} threat cover every image")

    def split(self, z: Tensor) -> list[Tensor]:
        """The parts that a point consists of, each moved for itself by a random search."""
        return [z]

    def join(self, points: list[Tensor], image: Tensor) -> Tensor:
        """The point made of its parts; `image` is any tensor (n, planes, H, W) of the images' size."""
        (point,) = points
        return point

    def contains(self, x: Tensor, z: Tensor, *, slack: float = SLACK) -> Tensor:
        """(n,) bool, in float64: finite, within epsilon + slack, and rendered inside the box exactly.

        Raises InputError when z is not one point per row of x.
        """
        with torch.no_grad():
            start = self.start(x)
            if z.shape != start.shape:
                raise InputError(
                    f"points of shape {tuple(z.shape)} do not fit; this {self.kind} threat has {tuple(start.shape)}.",
                    help="Pass one point per example, as threat.start(x) is shaped.",
                )
            valid = flat(torch.isfinite(z)).all(dim=1)
            safe = torch.where(rows(valid, z), z, start)
            valid = valid & (self.distance(x, safe) <= self.epsilon + slack)
            rendered = self.apply(x, torch.where(rows(valid, z), z, start))
            low, high = self.box
            return valid & flat((rendered >= low) & (rendered <= high)).all(dim=1)


def flat(t: Tensor) -> Tensor:
    """(n, *shape) -> (n, d)."""
    return t.flatten(1)


def per_example(values: float | Tensor, like: Tensor) -> float | Tensor:
    """A float, or an (n,) tensor shaped to broadcast over `like`'s (n, *shape)."""
    return rows(values, like) if isinstance(values, Tensor) else values


def rows(values: Tensor, like: Tensor) -> Tensor:
    """(n,) shaped to broadcast over `like`'s (n, *shape)."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def row_sum(t: Tensor) -> Tensor:
    """(n, d) -> (n,). Halves the rows before summing: torch's own sum of one long row depends on the thread count."""
    while t.shape[1] > 16384:
        half = (t.shape[1] + 1) // 2
        folded = t[:, :half].clone()
        folded[:, : t.shape[1] - half] += t[:, half:]
        t = folded
    return t.sum(dim=1)


T = TypeVar("T", bound="Threat")


def by_rows(method: Callable[[T, Tensor, Tensor], Tensor]) -> Callable[[T, Tensor, Tensor], Tensor]:
    """Evaluates a row-wise method a few rows at a time on the CPU, so that its temporaries stay in the cache.

    Fresh large temporaries cost several times the arithmetic there, as their pages are mapped anew for each. The rows of
    every method are independent bit for bit, so the result is the same.
    """

    @functools.wraps(method)
    def in_parts(self: T, x: Tensor, z: Tensor) -> Tensor:
        count = part_rows(x)
        if count >= len(x):
            return method(self, x, z)
        return torch.cat([method(self, *part) for part in zip(x.split(count), z.split(count), strict=True)])

    return in_parts


def part_rows(x: Tensor) -> int:
    """How many rows of x are worked on at a time so that temporaries stay in the cache; all of them off the CPU."""
    return len(x) if x.device.type != "cpu" or x.numel() <= _PART else max(1, _PART * len(x) // x.numel())


def settled(done: Tensor) -> bool:
    """Every row is done, so that the rest of the work may be skipped. Asks only on the CPU: elsewhere it would stall."""
    return done.device.type == "cpu" and bool(done.all())


def inward(x: Tensor, move: Tensor, norm: Tensor, epsilon: float) -> Tensor:
    """x + move (float64) in x's dtype, shrunk and rounded towards x so that the norm is at most epsilon in float64.

    norm: (n,) of `move`. No coordinate ends farther from x than it was, whatever the rounding.
    """
    move = move * rows(epsilon / norm.clamp_min(epsilon) * _MARGIN, x)
    nearest = (x.double() + move).to(x.dtype)
    return pulled(nearest, x, (nearest.double() - x.double()).abs() > move.abs())


def pulled(values: Tensor, x: Tensor, far: Tensor) -> Tensor:
    """`values`, one float step nearer to x where the mask `far` says so.

    Chosen by arithmetic on the bit patterns: torch.where is ten times slower on an unpredictable mask.
    """
    word = _WORDS[values.dtype.itemsize]
    bits = values.view(word)
    step = torch.nextafter(values, x).view(word) - bits
    return (bits + step * far.to(word)).view(values.dtype)


def folded(t: Tensor, low: float, high: float) -> Tensor:
    """Reflects coordinates at the walls of [low, high] until they are inside: never farther from any inside point."""
    span = high - low
    return low + (span - (span - torch.remainder(t - low, 2 * span)).abs())


def check_epsilon(epsilon: float, *, kind: str) -> None:
    """Raises InputError unless epsilon is a finite number above 0."""
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise InputError(f"epsilon must be a finite number above 0, got {epsilon}.", where=f"threat {kind}")
