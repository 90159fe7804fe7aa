"""Noise of the sensor and the channel."""

from __future__ import annotations

import scipy
import torch
from torch import Tensor

from evaluator.draws import Draws


def gaussian(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Thermal noise: normal, one draw for every value."""
    return x + (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1] * draws.normal(*x.shape[1:])


def shot(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Photon noise: Poisson with this many photons at full brightness, drawn by scipy's inverse distribution function."""
    photons = (500, 250, 100, 75, 50)[severity - 1]
    uniform = draws.uniform(*x.shape[1:]).double() + 2.0**-25
    counts = scipy.stats.poisson.ppf(uniform.cpu().numpy(), (x.double() * photons).cpu().numpy())
    return torch.from_numpy(counts / photons).to(x)


def impulse(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Salt and pepper: this share of the values becomes 0 or 1."""
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
    draw = draws.uniform(*x.shape[1:])
    return torch.where(draw < share / 2, 0.0, torch.where(draw < share, 1.0, x))
