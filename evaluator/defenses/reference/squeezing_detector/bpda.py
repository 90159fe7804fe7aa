"""The declared stand-in: the squeezed image is close to the image."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from evaluator.adaptive import identity


def substitutes(model: nn.Module) -> dict[str, Callable[[Tensor], Tensor]]:
    """Submodule "squeeze" rounds and smooths."""
    return {"squeeze": identity}
