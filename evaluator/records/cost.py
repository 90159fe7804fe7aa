"""What a number of model rows costs: the one weighing behind budgets, ties on boards, pages, reports and benchmarks."""

from __future__ import annotations


def cost(forward: int, backward: int) -> int:
    """Weighted rows: an image through the model is one, its vector-Jacobian product two more."""
    return forward + 2 * backward
