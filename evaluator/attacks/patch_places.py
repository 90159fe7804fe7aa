"""A patch at every place, coarse to fine: a few steps everywhere, more where they lead farthest, targets at the best (after
Karmon et al. 2018, "LaVAN", and Rao et al. 2020, "Adversarial Training against Location-Optimized Adversarial Patches")."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.gradients import glance, look, ranked_classes
from evaluator.attacks.losses import margin
from evaluator.attacks.patches import inside, patch_of, places_in
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least
from evaluator.threats.base import Threat
from evaluator.threats.patch import Patch

_GROUP = 256  # places climbed at once


@register(
    "patch_places",
    title="Patch at every place",
    access="gradients",
    threats=("patch", "physical"),
    paper="after Karmon et al. 2018",
)
@dataclass(frozen=True)
class PatchPlaces(Attack):
    """Sign steps inside the square, at every place of a coarse grid, around the best of those, then longer at the best.

    stride: of the coarse grid, as a share of the side (0 takes every place). steps: at each place of the three rounds.
    kept: how many places the first round and the second hand on. targets: the third round also steers to so many of the
    likeliest wrong classes. stop: False goes on after a success, for models that are random. The start is the clean image,
    whose one gradient serves all places.
    """

    stride: float = 0.4
    steps: tuple[int, int, int] = (4, 10, 40)
    kept: tuple[int, int] = (12, 5)
    targets: int = 3
    stop: bool = True

    def __post_init__(self) -> None:
        at_least(0, stride=self.stride, targets=self.targets)
        for count in (*self.steps, *self.kept):
            at_least(1, steps_and_kept=count)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        best = batch.x.clone()
        if not len(batch):
            return best
        seen = look(model, batch, threat, best, margin, stop=self.stop)
        order = ranked_classes(seen.logits, batch.y)
        for number, row in enumerate(seen.keep.tolist()):
            climb = _Climb(model, threat, patch_of(threat), batch[row : row + 1], seen.gradient[number : number + 1], self.stop)
            best[row] = self._search(climb, order[row, : self.targets])
        return best

    def _search(self, climb: _Climb, likely: Tensor) -> Tensor:
        """The best point for one example."""
        places = climb.grid(max(round(self.stride * climb.patch.side), 1))
        values = climb.run(places, self.steps[0])
        if climb.done:
            return climb.best
        places = climb.around(places[values.topk(min(self.kept[0], len(values))).indices], self.stride)
        values = climb.run(places, self.steps[1])
        if climb.done:
            return climb.best
        places = places[values.topk(min(self.kept[1], len(values))).indices]
        climb.run(places, self.steps[2])
        for target in likely.tolist() if climb.batch.target is None else []:
            if climb.done:
                break
            climb.run(places, self.steps[2], aim=target)
        return climb.best


class _Climb:
    """Climbs for one example. best: the point with the largest margin loss so far; done: it succeeds and that is enough."""

    def __init__(self, model: Model, threat: Threat, patch: Patch, one: Batch, gradient: Tensor, stop: bool) -> None:
        self._model, self._threat, self._gradient, self._stop = model, threat, gradient, stop
        self.patch, self.batch, self.best, self.done = patch, one, one.x[0], False
        self._value = -torch.inf

    def grid(self, stride: int) -> Tensor:
        """(p, 2) places `stride` apart, the last ones included."""
        axes = [sorted({*range(0, size, stride), size - 1}) for size in places_in(self.patch, self.batch.x)]
        return torch.cartesian_prod(*(torch.tensor(axis, device=self.batch.x.device) for axis in axes)).reshape(-1, 2)

    def around(self, places: Tensor, share: float) -> Tensor:
        """(p, 2) these places and those within less than one stride of them."""
        reach = max(round(share * self.patch.side), 1) - 1
        shift = torch.arange(-reach, reach + 1, device=places.device)
        moved = (places[:, None] + torch.cartesian_prod(shift, shift).reshape(1, -1, 2)).reshape(-1, 2).clamp_min(0)
        last = torch.tensor(places_in(self.patch, self.batch.x), device=places.device) - 1
        near: Tensor = torch.minimum(moved, last).unique(dim=0)
        return near

    def run(self, places: Tensor, steps: int, *, aim: int | None = None) -> Tensor:
        """(p,) the largest margin loss that `steps` steps reach at each place."""
        values = torch.cat(
            [self._some(part, steps, aim) for part in places.split(_GROUP) if not self.done] or [places[:0, 0].float()]
        )
        return values if len(values) == len(places) else values.new_full((len(places),), -torch.inf)

    def _some(self, places: Tensor, steps: int, aim: int | None) -> Tensor:
        count = len(places)
        batch = self.batch[torch.zeros(count, dtype=torch.int64, device=places.device)]
        aimed = batch if aim is None else batch.aimed(torch.full_like(batch.y, aim))
        square = inside(self.patch, batch.x, places)
        points, gradient = batch.x, self._gradient.expand_as(batch.x)
        reached = torch.full((count,), -torch.inf, device=places.device)
        for step in range(steps):
            size = self.patch.epsilon * (1 + math.cos(math.pi * step / steps)) / 2
            points = self.patch.project(batch.x, points + torch.where(square, gradient.sign(), 0.0) * size)
            if step + 1 == steps:
                logits = glance(self._model, batch, self._threat, points)
            else:
                seen = look(self._model, aimed, self._threat, points, margin, stop=False)
                logits, gradient = seen.logits, seen.gradient
            reached = torch.maximum(reached, self._noted(batch, points, logits))
            if self.done:
                break
        return reached

    def _noted(self, batch: Batch, points: Tensor, logits: Tensor) -> Tensor:
        values, success = margin(logits, dataclasses.replace(batch, aim=None)), batch.success(logits)
        ranked = torch.where(success, values.clamp_min(0), values)
        top = int(ranked.argmax())
        if float(ranked[top]) > self._value or (bool(success.any()) and self._stop):
            top = int(success.float().argmax()) if bool(success.any()) and self._stop else top
            self.best, self._value = points[top], float(ranked[top])
            self.done = self._stop and bool(success.any())
        return ranked
