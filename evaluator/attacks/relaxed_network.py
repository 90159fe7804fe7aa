"""Interval analysis of a plain feed-forward network: pre-activation bounds, and the gradient of its linear relaxation.

Follows Wang et al. 2018 (ReluVal, Neurify) with one simplification: the bounds that decide which ReLUs are unstable come
from interval arithmetic, not from the symbolic equations themselves. They are sound and looser.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluator.errors import InputError

_LINEAR = (nn.Linear, nn.Conv2d, nn.AvgPool2d, nn.Flatten, nn.Identity)


@dataclass(frozen=True)
class Relaxation:
    """What a box of inputs can do to the logits. upper: (n, K) bounds of Z_k - Z_y; gradient: see `Relaxed.direction`."""

    upper: Tensor
    slopes: tuple[Tensor, ...]


class Relaxed:
    """A network of Linear, Conv2d, AvgPool2d, Flatten, Identity and ReLU layers in sequence, ready for interval analysis.

    A module that normalises its input with `mean` and `std` attributes and then runs in sequence is understood too.
    Raises InputError naming the first layer that is not one of these.
    """

    def __init__(self, network: object) -> None:
        if not isinstance(network, nn.Module):
            raise InputError("interval analysis needs the layers of the network, not a function.", help=_HELP)
        self.mean = getattr(network, "mean", None)
        self.std = getattr(network, "std", None)
        self.layers = list(_layers(network))
        for layer in self.layers:
            if not isinstance(layer, (*_LINEAR, nn.ReLU)):
                raise InputError(f"interval analysis cannot read the layer {type(layer).__name__}.", help=_HELP)

    def relax(self, low: Tensor, high: Tensor, y: Tensor) -> Relaxation:
        """Interval bounds for inputs in [low, high] (n, *shape), and a slope in [0, 1] for every ReLU.

        The slope is 1 where the bounds are positive, 0 where they are negative, upper / (upper - lower) between.
        """
        low, high = self._normalized(low), self._normalized(high)
        slopes: list[Tensor] = []
        for layer in self.layers[:-1]:
            if isinstance(layer, nn.ReLU):
                unstable = high.clamp_min(0) / (high.clamp_min(0) - low.clamp_max(0)).clamp_min(1e-12)
                slopes.append(torch.where(low >= 0, torch.ones_like(low), unstable))
                low, high = low.clamp_min(0), high.clamp_min(0)
            else:
                centre, radius = (low + high) / 2, (high - low) / 2
                middle, spread = layer(centre), _spread(layer, radius)
                low, high = middle - spread, middle + spread
        last = self.layers[-1]
        if not isinstance(last, nn.Linear):
            raise InputError(f"the last layer must be Linear, not {type(last).__name__}.", help=_HELP)
        difference = last.weight[None] - last.weight[y][:, None]
        middle = torch.einsum("nkd,nd->nk", difference, (low + high) / 2)
        spread = torch.einsum("nkd,nd->nk", difference.abs(), (high - low) / 2)
        offset = 0.0 if last.bias is None else last.bias[None] - last.bias[y][:, None]
        return Relaxation(middle + spread + offset, tuple(slopes))

    def direction(self, z: Tensor, y: Tensor, target: Tensor, relaxation: Relaxation) -> Tensor:
        """The symbolic equation's coefficients: the gradient of Z_target - Z_y with every ReLU replaced by its slope."""
        with torch.enable_grad():
            leaf = z.detach().requires_grad_(True)
            hidden, slopes = self._normalized(leaf), iter(relaxation.slopes)
            for layer in self.layers:
                hidden = hidden * next(slopes) if isinstance(layer, nn.ReLU) else layer(hidden)
            rise = hidden.gather(1, target[:, None]) - hidden.gather(1, y[:, None])
            (gradient,) = torch.autograd.grad(rise.sum(), leaf)
        return gradient.detach()

    def _normalized(self, x: Tensor) -> Tensor:
        return x if self.mean is None or self.std is None else (x - self.mean) / self.std


_HELP = "Give the attack `network`: Linear, Conv2d, AvgPool2d, Flatten and ReLU in an nn.Sequential."


def _layers(network: nn.Module) -> Iterator[nn.Module]:
    """The layers in order: nn.Sequential is opened, and a normalising wrapper with a single child is too."""
    children = list(network.children())
    if isinstance(network, nn.Sequential) or (hasattr(network, "mean") and hasattr(network, "std") and len(children) == 1):
        for child in children:
            yield from _layers(child)
    else:
        yield network


def _spread(layer: nn.Module, radius: Tensor) -> Tensor:
    """How far a linear layer's output can be from the centre's when its input is within `radius` of the centre."""
    if isinstance(layer, nn.Linear):
        return functional.linear(radius, layer.weight.abs())
    if isinstance(layer, nn.Conv2d):
        weight = layer.weight.abs()
        return functional.conv2d(radius, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
    spread: Tensor = layer(radius)
    return spread
