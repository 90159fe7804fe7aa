"""A uniform sample of what a model was asked and what it said, so that it can be asked again.

Reservoir sampling (Vitter 1985, algorithm R), row by row over all passes, from a secret seed. The rows of the very last pass
are kept beside the sample, since a model may change late.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

Model = Callable[[Tensor], Tensor]
View = Callable[[Model], Model]  # a way of asking a model: through another backward pass, behind a logarithm, ...


def itself(model: Model) -> Model:
    """The view of a model that is asked as it is."""
    return model


@dataclass
class Exchange:
    """One row of one pass: x (*shape) and the logits (K,) that it got. Where a gradient was asked, cotangent (K,) and the
    vector-Jacobian product gradient (*shape)."""

    view: View
    x: Tensor
    logits: Tensor
    cotangent: Tensor | None = None
    gradient: Tensor | None = None


class Kept:
    """The rows of one pass that were kept: hooks that put in what the backward pass says."""

    def __init__(self, rows: list[tuple[int, Exchange]]) -> None:
        self._rows = rows

    def cotangent(self, cotangent: Tensor) -> None:
        """The hook on the pass's logits (n, K); a later backward pass through the same graph changes nothing."""
        for row, exchange in self._rows:
            if exchange.cotangent is None:
                exchange.cotangent = cotangent[row].detach().clone()

    def gradient(self, gradient: Tensor) -> None:
        """The hook on the pass's inputs (n, *shape)."""
        for row, exchange in self._rows:
            if exchange.gradient is None and exchange.cotangent is not None:
                exchange.gradient = gradient[row].detach().clone()


class Sample:
    """A reservoir of `size` rows and the first `size // 4` rows of the last pass."""

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seen = size, 0
        self._dice = np.random.default_rng(seed % 2**63)
        self._kept: list[Exchange] = []
        self._last: tuple[View, Tensor, Tensor] | None = None

    def add(self, view: View, x: Tensor, logits: Tensor) -> list[tuple[int, Exchange]]:
        """Draws which rows of a pass stay; returns them with their numbers."""
        numbers = self._seen + np.arange(len(x))
        places = np.where(numbers < self._size, numbers, (self._dice.random(len(x)) * (numbers + 1)).astype(np.int64))
        self._seen += len(x)
        rows: list[tuple[int, Exchange]] = []
        for row in np.flatnonzero(places < self._size).tolist():
            exchange = _exchange(view, x, logits, row)
            if int(places[row]) == len(self._kept):
                self._kept.append(exchange)
            else:
                self._kept[int(places[row])] = exchange
            rows.append((row, exchange))
        self._last = (view, x[: self._size // 4].detach().clone(), logits[: self._size // 4].detach().clone())
        return rows

    def exchanges(self) -> list[Exchange]:
        """What was kept."""
        last = [] if self._last is None else [_exchange(*self._last, row) for row in range(len(self._last[1]))]
        return [*self._kept, *last]


class Reservoir:
    """Two samples: of rows asked for logits alone, and of rows asked with a gradient.

    size: of each. seed: secret until the search is over.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._alone, self._differentiated = Sample(size, seed), Sample(size, seed + 1)

    def answered(self, view: View, x: Tensor, logits: Tensor) -> None:
        """One pass without gradients: x (n, *shape), logits (n, K)."""
        self._alone.add(view, x, logits)

    def asked_with_gradient(self, view: View, x: Tensor, logits: Tensor) -> Kept | None:
        """One pass whose gradient may be asked: hooks for the kept rows, None where none was kept."""
        rows = self._differentiated.add(view, x, logits)
        return Kept(rows) if rows else None

    def exchanges(self) -> list[Exchange]:
        """All kept rows; those whose gradient was never asked have none."""
        return self._alone.exchanges() + self._differentiated.exchanges()


def _exchange(view: View, x: Tensor, logits: Tensor, row: int) -> Exchange:
    return Exchange(view, x[row].detach().clone(), logits[row].detach().clone())
