"""One-line errors for impossible hyperparameters, raised before any compute."""

from __future__ import annotations

from evaluator.errors import InputError


def at_least(smallest: float, **values: float) -> None:
    """Raises InputError naming the first option below `smallest`."""
    for name, value in values.items():
        if not value >= smallest:
            raise InputError(f"{name} must be at least {smallest}, got {value}.")


def positive(**values: float) -> None:
    """Raises InputError naming the first option that is not > 0."""
    for name, value in values.items():
        if not value > 0:
            raise InputError(f"{name} must be greater than 0, got {value}.")
