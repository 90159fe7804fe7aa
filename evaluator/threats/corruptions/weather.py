"""Weather and daylight. All textures are procedural: clouds by diamond-square, ice and snow from noise."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.threats.corruptions.kernels import plasma, streaked, zoomed

_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601
_ICE = (0.86, 0.93, 1.0)  # bluish white


def fog(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Adds a plasma cloud and rescales to the image's brightest value."""
    strength, decay = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))[severity - 1]
    cloud = plasma(draws, x.shape[2], x.shape[3], decay=decay).to(x)[:, None]
    brightest = x.amax(dim=(1, 2, 3), keepdim=True)
    return (x + strength * cloud) * brightest / (brightest + strength)


def frost(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Dims the image and adds crystals of ice: the ridges of a rough cloud, thicker where a smooth one is dense.

    The paper overlays photographs of frost; these crystals are made, with its weights.
    """
    kept, added = ((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))[severity - 1]
    height, width = x.shape[2:]
    ridges = 1 - (2 * plasma(draws, height, width, decay=1.4) - 1).abs()
    ice = ridges.square() * (0.4 + 0.6 * plasma(draws, height, width, decay=2.0))
    tint = torch.tensor(_ICE if x.shape[1] == 3 else (1.0,), dtype=x.dtype, device=x.device)
    return kept * x + added * 1.5 * ice.to(x)[:, None] * tint[:, None, None]


def snow(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Flakes: thresholded noise, magnified and streaked downward, over an image whitened as by scattered light."""
    mean, deviation, zoom, threshold, radius, sigma, kept = (
        (0.1, 0.2, 1.0, 0.6, 8, 3.0, 0.95),
        (0.1, 0.2, 1.0, 0.5, 10, 4.0, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4.0, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6.0, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12.0, 0.8),
    )[severity - 1]
    noise = mean + deviation * draws.normal(1, *x.shape[2:]).to(x)
    layer = zoomed(noise, zoom)
    layer = torch.where(layer < threshold, 0.0, layer).clamp(0, 1)
    flakes = streaked(layer, 45 + 90 * draws.uniform(1).squeeze(1), radius=radius, sigma=sigma)
    whitened = torch.maximum(x, _gray(x) * 1.5 + 0.5)
    return kept * x + (1 - kept) * whitened + flakes + flakes.flip(2, 3)


def brightness(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Raises the value (the largest channel) of every pixel, keeping hue and saturation."""
    value = x.amax(dim=1, keepdim=True)
    raised = (value + (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1]).clamp(max=1)
    return torch.where(value > 0, x * (raised / value.clamp_min(1e-12)), raised.expand_as(x))


def _gray(x: Tensor) -> Tensor:
    """(n, 1, H, W) luminance."""
    if x.shape[1] == 1:
        return x
    red, green, blue = (x[:, i : i + 1] * weight for i, weight in enumerate(_LUMINANCE))
    return red + green + blue
