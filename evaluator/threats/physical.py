"""Physical robustness: a perturbation must fool the model over a distribution of viewpoints, scales, light and focus.

Athalye et al. 2018, "Synthesizing Robust Adversarial Examples" (expectation over transformation); Eykholt et al. 2018,
"Robust Physical-World Attacks on Deep Learning Visual Classification".
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.manifests.threat_base import ThreatSpec
from evaluator.manifests.threat_specs import PhysicalSpec
from evaluator.threats.base import SLACK, Projector, Threat, rows
from evaluator.threats.registry import build
from evaluator.threats.sampling import Border, bilinear, pixel_grid

Model = Callable[[Tensor], Tensor]
Goal = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Views:
    """A distribution of views; each range is drawn uniformly and independently, 0 switches it off.

    rotation: +- degrees. translation: +- pixels, down and right. scale, shear: +- share (0.1 is 10 %). perspective: +-
    how much nearer or farther one edge is than the center, as a share, in both directions. brightness: +- added light,
    [0, 1] units. contrast: +- share, about middle gray. blur: standard deviation from 0 to this many pixels. border: what
    comes into view.
    """

    rotation: float = 10.0
    translation: float = 1.0
    scale: float = 0.1
    shear: float = 0.05
    perspective: float = 0.1
    brightness: float = 0.1
    contrast: float = 0.2
    blur: float = 0.7
    border: Border = "edge"

    def __post_init__(self) -> None:
        for name in ("rotation", "translation", "scale", "shear", "perspective", "brightness", "contrast", "blur"):
            limit = {"rotation": 180.0, "scale": 0.9, "shear": 0.9, "perspective": 0.4}.get(name, 1000.0)
            if not 0 <= getattr(self, name) <= limit:
                raise InputError(f"{name} must lie in [0, {limit:g}], got {getattr(self, name)}.", where="threat physical")


@dataclass(frozen=True)
class Physical(Threat):
    """The points of `base`, judged by the share of views on which they succeed.

    samples: views per example in a verdict. threshold: the share of them that must succeed. Everything about points is
    `base`'s: this class adds the views.
    """

    base: Threat
    views: Views = Views()
    samples: int = 32
    threshold: float = 0.5
    kind = "physical"
    search = "views"

    def __post_init__(self) -> None:
        if self.samples < 1 or not 0 < self.threshold <= 1:
            raise InputError("samples must be at least 1 and threshold in (0, 1].", where="threat physical")

    @classmethod
    def of(cls, spec: ThreatSpec) -> Self:
        assert isinstance(spec, PhysicalSpec)
        return cls(build(spec.base), Views(**spec.views.model_dump()), samples=spec.samples, threshold=spec.threshold)

    @property
    def epsilon(self) -> float:  # type: ignore[override]
        """The base threat's epsilon."""
        return self.base.epsilon

    def sample(self, images: Tensor, draws: Draws) -> Tensor:
        """One random view of each image (n, C, H, W) -> the same shape, in [0, 1]; differentiable in the images.

        draws: one stream for each image, or a single one whose view all share (what `evaluator.adaptive.EOT` asks for).
        With every range 0 the view is the image, bit for bit.
        """
        views, unit = self.views, 2 * draws.uniform(10).to(images.dtype) - 1
        seen = self._placed(images, unit)
        if views.blur > 0:
            seen = blurred(seen, views.blur * (unit[:, 9] + 1) / 2, reach=math.ceil(3 * views.blur))
        light, contrast = rows(views.brightness * unit[:, 7], images), rows(1 + views.contrast * unit[:, 8], images)
        return (seen * contrast + (1 - contrast) / 2 + light).clamp(0, 1)

    def _placed(self, images: Tensor, unit: Tensor) -> Tensor:
        """Translation, perspective, rotation, shear and scale as one homography, read backwards."""
        views = self.views
        row, column = pixel_grid(images)
        middle_row, middle_column = (images.shape[2] - 1) / 2, (images.shape[3] - 1) / 2
        amounts = [math.radians(views.rotation), views.translation, views.translation, views.scale, views.shear]
        amounts += [views.perspective, views.perspective]
        drawn = (rows(amount * unit[:, index], row) for index, amount in enumerate(amounts))
        angle, down, right, scale, shear, tilt_down, tilt_right = drawn
        i, j = row - middle_row - down, column - middle_column - right
        depth = (1 + tilt_down * i / max(middle_row, 1) + tilt_right * j / max(middle_column, 1)).clamp_min(0.1) * (1 + scale)
        i, j = i / depth, j / depth
        turned = i * angle.cos() + j * angle.sin()
        across = j * angle.cos() - i * angle.sin() + shear * turned
        return bilinear(images, turned + middle_row, across + middle_column, border=views.border)

    def rendered_views(self, x: Tensor, z: Tensor, draws: Draws, *, samples: int | None = None) -> Iterator[Tensor]:
        """`samples` (default the verdict's number) independent views of the rendered points, differentiable in z."""
        rendered = self.apply(x, z)
        for _ in range(self.samples if samples is None else samples):
            yield self.sample(rendered, draws)

    def expectation(
        self, model: Model, x: Tensor, z: Tensor, goal: Goal, draws: Draws, *, samples: int | None = None
    ) -> Tensor:
        """(n,) float64 in [0, 1]: the share of views on which `goal`, logits (n, K) -> (n,) bool, is met.

        Its standard error is at most 1 / (2 sqrt(samples)).
        """
        count = self.samples if samples is None else samples
        met = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        with torch.no_grad():
            for view in self.rendered_views(x, z, draws, samples=count):
                met += goal(model(view)).double()
        return met / count

    def succeeds(self, model: Model, x: Tensor, z: Tensor, goal: Goal, draws: Draws) -> Tensor:
        """(n,) bool: `goal` is met on at least `threshold` of `samples` views."""
        return self.enough(self.expectation(model, x, z, goal, draws))

    def enough(self, share: Tensor) -> Tensor:
        """(n,) bool: such a share of views (n,) makes a success."""
        return share >= self.threshold

    def start(self, x: Tensor) -> Tensor:
        return self.base.start(x)

    def apply(self, x: Tensor, z: Tensor) -> Tensor:
        """The point as `base` renders it: the object itself, before any view."""
        return self.base.apply(x, z)

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        return self.base.project(x, z)

    def fixed(self, x: Tensor) -> Projector:
        return self.base.fixed(x)

    def random_start(self, x: Tensor, draws: Draws) -> Tensor:
        return self.base.random_start(x, draws)

    def steepest_step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        return self.base.steepest_step(gradient, size)

    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        return self.base.distance(x, z)

    def contains(self, x: Tensor, z: Tensor, *, slack: float = SLACK) -> Tensor:
        return self.base.contains(x, z, slack=slack)


def blurred(images: Tensor, sigma: Tensor, *, reach: int) -> Tensor:
    """Gaussian blur of each image (n, C, H, W) with its own sigma (n,) in pixels, taps to +-reach, edges repeated."""
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    weights = torch.exp(-0.5 * (offsets / sigma.clamp_min(1e-3)[:, None]).square())
    weights = weights / weights.sum(dim=1, keepdim=True)
    for axis, margin in ((2, (0, 0, reach, reach)), (3, (reach, reach, 0, 0))):
        padded, size = functional.pad(images, margin, mode="replicate"), images.shape[axis]
        taps = (padded.narrow(axis, k, size) * rows(weights[:, k], images) for k in range(2 * reach + 1))
        images = functools.reduce(torch.add, taps)
    return images
