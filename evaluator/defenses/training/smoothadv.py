"""SmoothAdv: adversarial training of the smoothed classifier itself (Salman et al. 2019, sec. 2.2, algorithm SmoothAdv-PGD)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluator.defenses.training.inner import warmed
from evaluator.defenses.training.method import Loss, Method, Minibatch
from evaluator.threats import L2


@dataclass(frozen=True)
class SmoothAdv(Method):
    """Trains at noisy copies of inputs that mislead the soft smoothed classifier G(x) = E[softmax f(x + d)].

    The inner step ascends -log mean_i softmax f(x + d_i)_y over `samples` fixed noise draws d_i, within an L2 ball of
    `epsilon`; the outer loss is the cross-entropy at all the noisy copies of the point found. steps: inner steps of size
    2 epsilon / steps.
    """

    sigma: float
    epsilon: float
    samples: int = 2
    steps: int = 2

    def loss(self, network: nn.Module, batch: Minibatch) -> Loss:
        noise = self.sigma * batch.draws.normal(self.samples, *batch.x.shape[1:]).to(batch.x.dtype)
        points = self._maximise(network, batch, noise)
        logits = network(_copies(points, noise))
        value = functional.cross_entropy(logits, batch.y.repeat_interleave(self.samples))
        return Loss(value, logits.reshape(len(batch.x), self.samples, -1).mean(dim=1))

    def _maximise(self, network: nn.Module, batch: Minibatch, noise: Tensor) -> Tensor:
        threat = warmed(L2(self.epsilon), batch.strength)
        points, rows = batch.x.clone(), torch.arange(len(batch.x), device=batch.x.device)
        for _ in range(self.steps):
            leaf = points.detach().requires_grad_(True)
            probabilities = network(_copies(leaf, noise)).softmax(dim=1).reshape(len(leaf), self.samples, -1).mean(dim=1)
            (gradient,) = torch.autograd.grad(-probabilities[rows, batch.y].clamp_min(1e-12).log().sum(), leaf)
            points = threat.project(batch.x, points + threat.steepest_step(gradient, 2 * threat.epsilon / self.steps))
        return points.detach()


def _copies(x: Tensor, noise: Tensor) -> Tensor:
    """(n, *shape) and (n, samples, *shape) -> (n * samples, *shape)."""
    return (x[:, None] + noise).reshape(-1, *x.shape[1:])
