"""Backward pass differentiable approximation (Athalye et al. 2018, "Obfuscated Gradients Give a False Sense of Security",
sec. 4.1): the forward pass is the layer f itself, bit for bit; the backward pass is that of a substitute g close to f."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from evaluator.errors import InputError

Layer = Callable[[Tensor], Tensor]


class _Swap(torch.autograd.Function):
    """Value of the first argument, gradient to the second."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, approximation: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, gradient


class BPDA(nn.Module):
    """f(x) forward, g's vector-Jacobian product backward.

    f: a layer or a whole model, not necessarily differentiable. g: differentiable, with outputs of f's shape.
    Raises InputError when the shapes differ.
    """

    def __init__(self, f: Layer, g: Layer, *, name: str = "the layer") -> None:
        super().__init__()
        self.f, self.g, self._name = f, g, name

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            value = self.f(x)
        if not (torch.is_grad_enabled() and x.requires_grad):
            return value
        approximation = self.g(x)
        if approximation.shape != value.shape:
            what = f"its substitute answers shape {tuple(approximation.shape)} where it answers {tuple(value.shape)}."
            raise InputError(what, where=self._name, help="Give a substitute with the layer's output shape.")
        return passed_through(value, approximation)


def passed_through(value: Tensor, approximation: Tensor) -> Tensor:
    """`value`, bit for bit, with the gradient of `approximation` (of the same shape)."""
    with torch._C.DisableTorchFunction():
        alone = value.detach()  # a backward pass of its own may answer anything, even to a cotangent of zero
    swapped: Tensor = _Swap.apply(alone, approximation)  # type: ignore[no-untyped-call]
    return swapped


def identity(x: Tensor) -> Tensor:
    """The straight-through substitute, for layers that keep shape and roughly the value: rounding, JPEG, purifiers."""
    return x


def clamped_thermometer(levels: int) -> Layer:
    """The substitute of thermometer encoding, g(x)_k = clamp(x - k/levels, 0, 1) for k = 1 .. levels.

    The encoding itself is ceil(g(x)). x (n, c, ...) -> (n, c * levels, ...), channel c's levels side by side.
    """

    def g(x: Tensor) -> Tensor:
        steps = torch.arange(1, levels + 1, dtype=x.dtype, device=x.device) / levels
        unary = (x.unsqueeze(2) - steps.reshape(1, 1, -1, *[1] * (x.dim() - 2))).clamp(0, 1)
        return unary.flatten(1, 2)

    return g


@contextmanager
def with_backward(module: nn.Module, substitutes: Mapping[str, Layer]) -> Iterator[nn.Module]:
    """`module` with the named submodules' backward passes replaced: forward values stay the same bits.

    substitutes: dotted names of submodules (as in `named_modules`; each takes one tensor) -> g. The submodules are put back
    on leaving, after errors too. Raises InputError for a name that does not exist.
    """
    layers = {name: BPDA(_submodule(module, name), g, name=name) for name, g in substitutes.items()}
    with _installed(module, layers):
        yield module


@contextmanager
def replaced(module: nn.Module, substitutes: Mapping[str, Layer]) -> Iterator[nn.Module]:
    """`module` with the named submodules replaced in both passes (`identity` removes them), put back on leaving.

    What falls here has to be checked on the module itself. Raises InputError for a name that does not exist.
    """
    with _installed(module, {name: _Function(g) for name, g in substitutes.items()}):
        yield module


class _Function(nn.Module):
    """A function as a submodule."""

    def __init__(self, function: Layer) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@contextmanager
def _installed(module: nn.Module, layers: Mapping[str, nn.Module]) -> Iterator[None]:
    originals = {name: _submodule(module, name) for name in layers}
    nested = [name for name in originals for outer in originals if name.startswith(f"{outer}.")]
    if nested:
        what = f"{nested[0]} lies inside another submodule that is replaced too."
        raise InputError(what, help="Name the outer or the inner one.")
    try:
        for name, layer in layers.items():
            module.set_submodule(name, layer)
        yield
    finally:
        for name, original in originals.items():
            module.set_submodule(name, original)


def _submodule(module: nn.Module, name: str) -> nn.Module:
    known: dict[str, nn.Module] = dict(module.named_modules())
    known.pop("")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"Nearest: {', '.join(near)}." if near else f"It has: {', '.join(known) or 'no submodules'}."
        raise InputError(f'the model has no submodule "{name}".', help=hint)
    return known[name]
