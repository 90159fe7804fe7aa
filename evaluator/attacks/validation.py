"""One-line errors for impossible hyperparameters, raised before any compute."""

from __future__ import annotations

import difflib
from collections.abc import Collection

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


def one_of(known: Collection[str], **values: str) -> None:
    """Raises InputError naming the first option that is not a known name, and the nearest one."""
    for name, value in values.items():
        if value not in known:
            near = difflib.get_close_matches(value, known, n=1)
            hint = f'Did you mean "{near[0]}"?' if near else f"It can be: {', '.join(known)}."
            raise InputError(f'{name} cannot be "{value}".', help=hint)


def at_most(largest: float, **values: float) -> None:
    """Raises InputError naming the first option above `largest`."""
    for name, value in values.items():
        if not value <= largest:
            raise InputError(f"{name} must be at most {largest}, got {value}.")
