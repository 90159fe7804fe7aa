"""A model in another process has values and reverse-mode gradients; everything else that torch may ask is refused by name.

Without this, autograd would take what it cannot see for a constant, and second or forward-mode derivatives would be zero.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

P = ParamSpec("P")
T = TypeVar("T")


class FirstOrderOnly(RuntimeError):
    """The model was asked for more than values and first-order gradients in reverse mode, or was to be transformed."""


_SECOND = (
    "first order only: the model answers its gradient and no derivative of that (hvp, vhp, jvp, hessian, double backward); "
    "take differences of gradients at two points instead."
)
_FORWARD = (
    "first order only, in reverse mode: the model has no forward-mode derivative (torch.autograd.forward_ad, jvp); "
    "use torch.autograd.grad."
)
_FUNC = (
    "first order only, and no transforms: torch.func, vmap and batched gradients cannot look into a model that runs "
    "elsewhere; call it on a batch and use torch.autograd.grad."
)
_JIT = "torch.jit and torch.export cannot look into a model that runs elsewhere; call it as it is."
_COMPILE = "torch.compile cannot look into a model that runs elsewhere and leaves it as it is."
_TENSOR = "the model takes a tensor of images (n, *shape), not a {}; it runs elsewhere and cannot be traced symbolically."


def check_input(x: object) -> None:
    """Raises FirstOrderOnly where x is no plain tensor: dual, transformed, traced, or fake."""
    if torch._C._is_tracing() or torch.compiler.is_exporting():
        raise FirstOrderOnly(_JIT)
    if not isinstance(x, Tensor):
        raise FirstOrderOnly(_TENSOR.format(type(x).__name__))
    _check_transforms(x)
    if forward_ad.unpack_dual(x).tangent is not None:
        raise FirstOrderOnly(_FORWARD)


def uncompiled(method: Callable[P, T]) -> Callable[P, T]:
    """`method`, which torch.compile leaves alone: it would spend minutes on the code that talks to the other process.

    torch.compiler.disable alone would import the whole compiler into every process that has a model.
    """
    if "torch._dynamo" not in sys.modules:
        return method
    disabled: Callable[P, T] = torch.compiler.disable(method, reason=_COMPILE)
    return disabled


def check_cotangent(cotangent: Tensor) -> None:
    """The same for what a backward pass is given."""
    _check_transforms(cotangent)


def refuse_script() -> None:
    """What torch.jit.script, which reads source code instead of calling, is answered."""
    raise FirstOrderOnly(_JIT)


def first_order(gradient: Tensor, *sources: Tensor) -> Tensor:
    """The gradient (in a backward pass that is itself recorded): differentiating it again is refused.

    sources: what it depends on, so that autograd knows that there is something to refuse.
    """
    once: Tensor = _Once.apply(gradient, *sources)  # type: ignore[no-untyped-call]
    return once


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *sources: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        raise FirstOrderOnly(_SECOND)


def _check_transforms(t: Tensor) -> None:
    functorch = torch._C._functorch
    if functorch.is_functorch_wrapped_tensor(t) or functorch.is_legacy_batchedtensor(t):
        raise FirstOrderOnly(_FUNC)
