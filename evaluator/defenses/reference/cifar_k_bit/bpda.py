"""The declared stand-in: rounding is close to the identity."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from evaluator.adaptive import identity


def substitutes(model: nn.Module) -> dict[str, Callable[[Tensor], Tensor]]:
    """Submodule "0" stands before the network."""
    return {"0": identity}
