"""A learned substitute for BPDA: a small differentiable g fitted to a part of a model that hides its gradient.

Athalye et al. 2018 ("Obfuscated Gradients Give a False Sense of Security", sec. 4.1) ask for any differentiable g close to f.
Here it is three 1 x 1 convolutions fitted to f by the mean squared error, on what f is given when the model sees noise. It
follows encodings pixel by pixel (thermometers, one-hot levels, tables), where the identity does not even have f's shape.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluator.adam import Adam
from evaluator.adaptive.bpda import Layer

_WIDTH, _STEPS, _RATE, _IMAGES, _PIXELS = 32, 300, 1e-2, 8, 4096


def noise_images(shape: Sequence[int], device: torch.device) -> Tensor:
    """(_IMAGES, *shape) in [0, 1], the same in every call: each pixel uniform, and in half of them constant over blocks."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(_IMAGES, *shape, generator=generator)
    if len(shape) == 3 and min(shape[1:]) >= 4:
        coarse = torch.rand(_IMAGES // 2, shape[0], shape[1] // 4 + 1, shape[2] // 4 + 1, generator=generator)
        blocks = coarse.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
        images[: _IMAGES // 2] = blocks[:, :, : shape[1], : shape[2]]
    return images.to(device)


def learn_substitute(inputs: Tensor, outputs: Tensor) -> Layer | None:
    """g with g(inputs) close to outputs: (n, c, ...) -> (n, c', ...) with the same pixels; None where the pixels differ.

    The fit is deterministic. g works on any batch of the same rank.
    """
    if inputs.dim() < 3 or inputs.shape[0] != outputs.shape[0] or inputs.shape[2:] != outputs.shape[2:]:
        return None
    rows, targets = _pixels(inputs), _pixels(outputs)
    if not bool(torch.isfinite(targets).all()):
        return None
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        network = _Pointwise(rows, targets)
        optimizer = Adam(network.parameters(), _RATE)
        for _ in range(_STEPS):
            optimizer.zero_grad()
            torch.autograd.backward(functional.mse_loss(network(rows), targets))
            optimizer.step()
    network.requires_grad_(False)
    return lambda x: network(x.movedim(1, -1)).movedim(-1, 1)


def _pixels(x: Tensor) -> Tensor:
    """(pixels, c): some pixels of all images."""
    rows = x.detach().float().flatten(2).transpose(1, 2).flatten(0, 1)
    return rows[:: max(1, len(rows) // _PIXELS)]


class _Pointwise(nn.Module):
    """(..., c) -> (..., c'): the same small network at every pixel, its input and output scales set from data."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        super().__init__()
        self._center, self._spread = inputs.mean(), inputs.std().clamp_min(1e-6)
        self._offset, self._scale = targets.mean(), targets.std().clamp_min(1e-6)
        self.layers = nn.Sequential(
            nn.Linear(inputs.shape[1], _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, _WIDTH), nn.SiLU(),
            nn.Linear(_WIDTH, targets.shape[1]),
        ).to(inputs.device)  # fmt: skip

    def forward(self, rows: Tensor) -> Tensor:
        """(..., c) -> (..., c')."""
        answers: Tensor = self.layers((rows - self._center) / self._spread) * self._scale + self._offset
        return answers
