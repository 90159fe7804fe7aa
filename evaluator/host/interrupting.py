"""A network in this process that can be interrupted between its layers: a pass over a large batch takes seconds."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


def interruptible(model: nn.Module, check: Callable[[], None]) -> nn.Module:
    """The same network, which calls `check` after every layer of a forward and of a backward pass.

    check: cheap; what it raises ends the pass, and reaches the caller.
    """

    def after(layer: nn.Module, inputs: object, output: object) -> None:
        check()
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda gradient: check())

    for layer in model.modules():
        if next(layer.children(), None) is None:
            layer.register_forward_hook(after)
    return model
