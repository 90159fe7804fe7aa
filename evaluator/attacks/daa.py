"""Distributionally adversarial attack (Zheng et al. 2019, "Distributionally Adversarial Attack", AAAI).

Particles move on the gradient of the loss plus a force that couples them through a kernel. The kernel is of the Lagrangian
blob method or the discrete gradient flow. The paper couples the points of a data batch, so that an example's fate depends on
its neighbours in the file. Here the coupled particles are random starts of one example: the same flow, and a verdict that
depends on the example alone.
"""

from __future__ import annotations

import math
from dataclasses import InitVar, dataclass
from typing import Literal

import torch
from torch import Tensor

from evaluator.attacks.active import Active
from evaluator.attacks.attempts import Attempt, with_restarts
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.gradients import glance, look
from evaluator.attacks.losses import LOSSES
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least, one_of, positive
from evaluator.threats.base import Threat

Kernel = Literal["blob", "dgf"]


@register("daa", title="Distributionally adversarial attack", access="gradients", threats=("linf",), paper="Zheng et al. 2019")
@dataclass(frozen=True)
class DAA(Attack):
    """Signed steps on the gradient plus a kernel force between `particles` random starts of each example.

    steps: of size step_size (default 2.5 * epsilon / steps). kernel: "blob" averages the gradients of near particles and
    draws them together, "dgf" pushes near ones apart. coupling: the kernel force as a share of the gradient's size. An
    example leaves as soon as one of its particles is adversarial.
    """

    steps: int = 100
    particles: int = 8
    restarts: int = 1
    kernel: Kernel = "blob"
    loss: Literal["ce", "margin"] = "ce"
    coupling: float = 0.1
    step_size: float | None = None

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, restarts=self.restarts)
        at_least(2, particles=self.particles)
        at_least(0, coupling=self.coupling)
        one_of(("blob", "dgf"), kernel=self.kernel)
        one_of(("ce", "margin"), loss=self.loss)
        if self.step_size is not None:
            positive(step_size=self.step_size)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        size = self.step_size if self.step_size is not None else 2.5 * threat.epsilon / self.steps

        def once(part: Batch) -> Attempt:
            return flow(model, part, threat, self, sizes=[size] * self.steps)

        return with_restarts(once, batch, threat, restarts=self.restarts).points


@dataclass
class _Flow(Active):
    """The particles in play, `count` rows for each example. points: where they are."""

    points: Tensor
    count: InitVar[int]

    def __post_init__(self, count: int) -> None:
        super().__post_init__()
        self._count = count

    def write(self, found: Attempt, success: Tensor) -> None:
        """Writes each example's first adversarial particle (or its first one) to `found`, and whether there is one."""
        examples, hits = self.at[:: self._count] // self._count, success.reshape(-1, self._count)
        chosen = hits.float().argmax(dim=1) + torch.arange(len(hits), device=hits.device) * self._count
        found.points[examples], found.fell[examples] = self.points[chosen], hits.any(dim=1)


def flow(model: Model, batch: Batch, threat: Threat, options: DAA, *, sizes: list[float]) -> Attempt:
    """One run of the particle flow with one step for each of `sizes`.

    The point returned for an example that did not fall is its first particle.
    """
    n, count = len(batch), options.particles
    starts = [threat.random_start(batch.x, batch.draws.fork(particle)) for particle in range(count)]
    points = torch.stack(starts, dim=1).flatten(0, 1)
    found = Attempt(starts[0].clone(), torch.zeros(n, dtype=torch.bool, device=batch.x.device))
    now = _Flow(batch[torch.arange(n, device=batch.x.device).repeat_interleave(count)], points, count)
    for size in sizes:
        if not len(now):
            return found
        seen = look(model, now.batch, threat, now.points, LOSSES[options.loss], group=count)
        now.write(found, seen.success)
        now.keep(seen.keep)
        force = _force(now.points, seen.gradient, count, options)
        now.points = threat.project(now.batch.x, now.points + threat.steepest_step(force, size))
    if len(now):
        now.write(found, now.batch.success(glance(model, now.batch, threat, now.points)))
    return found


def _force(points: Tensor, gradient: Tensor, count: int, options: DAA) -> Tensor:
    """The gradient plus the kernel terms, for groups of `count` particles.

    With k_ij = exp(-|z_i - z_j|^2 / 2h^2) and h^2 = median |z_i - z_j|^2 / (2 log(count + 1)):
    blob: g_i + 1.1 / count * sum_j k_ij g_j - a_i, where a_i points along sum_j k_ij (z_i - z_j) (near particles attract);
    dgf: g_i - a_i, where a_i points along sum_j (|z_i - z_j|^2 / 2h^2 - 1) k_ij (z_i - z_j) (near particles repel).
    a_i is scaled to `coupling` times the mean |g_i|: the authors' constants weigh it against distances between images.
    """
    z, g = (t.reshape(-1, count, math.prod(t.shape[1:])) for t in (points, gradient))
    away = torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist").square()
    spread = away.flatten(1).median(dim=1).values / (2 * math.log(count + 1))
    scaled = away / (2 * spread.clamp_min(1e-12)[:, None, None])
    near = (-scaled).exp()
    weight = near if options.kernel == "blob" else (scaled - 1) * near
    apart = z * weight.sum(dim=2, keepdim=True) - weight @ z
    strength = options.coupling * g.abs().mean(dim=2, keepdim=True) / apart.abs().mean(dim=2, keepdim=True).clamp_min(1e-12)
    shared = 1.1 / count * (near @ g) if options.kernel == "blob" else torch.zeros_like(g)
    return (g + shared - strength * apart).reshape(points.shape)
