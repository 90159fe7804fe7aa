"""Rows that keep others company: asked so that a pass looks like every other, at most a few in a hundred.

A pass of clean images is all files, one of a climb has none; so each gets rows of the kind it lacks. Files are rows asked
before, rounded to multiples of 1/255. The others lie in the threat of an image, or near a row asked before, as the next step of
a climb does. None of their answers judges anything.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

LEVELS = 255
GRID = 1e-3  # of a gray level: nearer to a multiple of 1/255 than this is a file
KEPT = 256  # rows from which company is made
STEP = 0.02  # of the box, the farthest a row lies from the one it was made of
SHARE = 0.03  # of all rows asked, for company
_LOOKED_AT = 64  # values of a row, evenly spread
_BEFORE = 64  # rows of company that may be asked before anybody has asked much

Move = Callable[[Tensor, int], Tensor]  # inputs (n, *shape), a number that keys the draws -> points of the threat around them


def files(x: Tensor) -> Tensor:
    """(n,) bool: the rows of x (n, *shape) that a file of 8-bit images could hold, by some of their values."""
    flat = x.detach().flatten(1)
    gray = flat[:, :: max(1, flat.shape[1] // _LOOKED_AT)] * LEVELS
    return (gray - gray.round()).abs().amax(dim=1) < GRID if x.shape[0] else torch.zeros(0, dtype=torch.bool)


class Company:
    """Makes rows of either kind and keeps the account of them.

    move: draws points of the threat around images. seed: secret. examples: how many images are judged; each may bring a row of
    company with it beside the share of all that is asked.
    """

    def __init__(self, move: Move, seed: int, examples: int) -> None:
        self._move, self._dice = move, np.random.default_rng((seed + 17) % 2**63)
        self._rows: list[Tensor] = []
        self._calls = 0
        self._left = float(_BEFORE + 2 * examples)

    @property
    def left(self) -> int:
        """Rows of company that may still be asked."""
        return int(self._left)

    def asked(self, x: Tensor) -> None:
        """These rows are asked for their own sake: one is kept, and more company is allowed."""
        self._left += SHARE * len(x)
        row = x[int(self._dice.integers(len(x)))].detach()
        if len(self._rows) < KEPT:
            self._rows.append(row.clone())
        else:
            self._rows[int(self._dice.integers(KEPT))] = row.clone()

    def made(self, count: int, x: Tensor, *, as_files: bool) -> Tensor:
        """(count, *shape) rows of one kind for x (n, *shape), taken from the account; none where none was asked before."""
        if not self._rows or self._rows[0].shape != x.shape[1:]:
            return x[:0]
        self._left -= count
        self._calls += 1
        bases = torch.stack([self._rows[i] for i in self._dice.integers(len(self._rows), size=count).tolist()]).to(x)
        if as_files:
            return (bases * LEVELS).round() / LEVELS
        plain = files(bases)
        near = torch.from_numpy(self._dice.uniform(-STEP, STEP, size=tuple(bases.shape))).to(bases)
        moved = (bases + near).clamp(0, 1)
        if bool(plain.any()):
            moved[plain] = self._move(bases[plain], self._calls)
        return moved
