"""A random model made to repeat itself: the generators that code usually draws from, started from a seed for one pass."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class RandomState:
    """Where the generators that code usually draws from stood: torch's, Python's and NumPy's global ones."""

    tensors: Tensor
    plain: Any
    arrays: Any

    @classmethod
    def now(cls) -> RandomState:
        return cls(torch.get_rng_state(), random.getstate(), np.random.get_state())

    def restore(self) -> None:
        torch.set_rng_state(self.tensors)
        random.setstate(self.plain)
        np.random.set_state(self.arrays)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Inside they stand there again; after it they go on as if nothing had been."""
        before = RandomState.now()
        self.restore()
        try:
            yield
        finally:
            before.restore()


def seed_all(seed: int) -> None:
    """torch's, Python's and NumPy's global generators start from `seed`."""
    number = seed % 2**32
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number)  # the global one is what third-party code uses


@contextmanager
def seeded(seed: str | None) -> Iterator[None]:
    """torch's, Python's and NumPy's global generators start from `seed` inside and go on as if nothing had been after it.

    None changes nothing. A generator of the model's own is out of reach: its passes stay free. Raises ValueError for anything
    but a whole number.
    """
    if seed is None:
        yield
        return
    plain, arrays = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        seed_all(int(seed))
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(arrays)
