"""What is judged: a way to open the model afresh, and how its answers are read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from evaluator.attacks.base import Model
from evaluator.models.reading import ARGMAX, Reading

OpenModel = Callable[[], AbstractContextManager[Model]]


@dataclass(frozen=True)
class Defense:
    """open: opens a *fresh* copy of the model each time it is called; reading: how its answers are read."""

    open: OpenModel
    reading: Reading = ARGMAX

    @classmethod
    def of(cls, model: Model, reading: Reading = ARGMAX) -> Defense:
        """A model of this process, the same one each time: for models that keep nothing between their passes."""
        return cls(lambda: nullcontext(model), reading)
