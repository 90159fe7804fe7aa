"""How many samples an EOT attack needs on a given defense: measured on its gradients, not guessed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.losses import Loss, margin

CHOICES = (1, 2, 4, 8, 16, 32, 64)
SIGNAL_TO_NOISE = 2.0
SIGN_AGREEMENT = 0.9
_PILOTS = 8  # gradients measured before the first judgement: two would call a lucky pair agreement


@dataclass(frozen=True)
class ChosenSamples:
    """The choice and what it rests on.

    samples: k, one of CHOICES. signal_to_noise: median over examples of ||E g|| / sqrt(E||mean_k g - E g||^2).
    sign_agreement: median over examples of the share of coordinates whose sign is the same in two independent k-means.
    enough: False when even the largest k met neither threshold.
    """

    samples: int
    signal_to_noise: float
    sign_agreement: float
    enough: bool


def choose_samples(model: Model, batch: Batch, points: Tensor | None = None, *, loss: Loss = margin) -> ChosenSamples:
    """The smallest k whose mean gradient has signal-to-noise >= 2 or sign agreement >= 90 % (medians over examples).

    points: (n, *shape) where to measure, default the clean inputs. Costs max(2k, 8) forward and backward rows per example,
    at most 128. A deterministic model, and one whose gradient is zero everywhere, needs k = 1.
    """
    x = batch.x if points is None else points
    gradients: list[Tensor] = []
    for samples in CHOICES:
        while len(gradients) < max(2 * samples, _PILOTS):
            gradients.append(_gradient(model, batch, x, loss))
        stacked = torch.stack(gradients)
        snr = float(_signal_to_noise(stacked, samples).median())
        agreement = float(_sign_agreement(stacked, samples).median())
        enough = snr >= SIGNAL_TO_NOISE or agreement >= SIGN_AGREEMENT
        if enough or samples == CHOICES[-1]:
            return ChosenSamples(samples, snr, agreement, enough)
    raise AssertionError("CHOICES is empty")


def _gradient(model: Model, batch: Batch, x: Tensor, loss: Loss) -> Tensor:
    """(n, d) float64 gradient of the loss, one draw of the model's randomness."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(model(leaf), batch).sum(), leaf)
    return gradient.flatten(1).double()


def _signal_to_noise(gradients: Tensor, samples: int) -> Tensor:
    """(n,) for gradients (m, n, d): the signal is the norm of the true mean (its estimate less the estimate's own noise)."""
    mean = gradients.mean(dim=0)
    noise = (gradients - mean).square().sum(dim=(0, 2)) / (len(gradients) - 1)
    signal = (mean.square().sum(dim=1) - noise / len(gradients)).clamp_min(0)
    return torch.where(noise > 0, (signal * samples / noise.clamp_min(1e-300)).sqrt(), torch.inf)


def _sign_agreement(gradients: Tensor, samples: int) -> Tensor:
    """(n,) share of equal signs, averaged over disjoint pairs of k-means; coordinates that are zero in both do not count."""
    pairs = len(gradients) // (2 * samples)
    means = gradients[: pairs * 2 * samples].reshape(pairs, 2, samples, *gradients.shape[1:]).mean(dim=2)
    one, other = means[:, 0].sign(), means[:, 1].sign()
    counted = (one != 0) | (other != 0)
    same = ((one == other) & counted).sum(dim=2)
    share = torch.where(counted.any(dim=2), same / counted.sum(dim=2).clamp_min(1), 1.0)
    return share.double().mean(dim=0)
