"""Per-example randomness: what an example draws depends on the seed and the example's id, and on nothing else.

An evaluation can therefore be cut into shards, batched differently or run on another device and still draw the same
numbers. The generator is counter-based (splitmix64, Steele et al. 2014, "Fast splittable pseudorandom number
generators"): value = mix(mix(key + call * GOLDEN) + index * GOLDEN), in wrapping 64-bit integers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_MASK = (1 << 64) - 1


def _signed(value: int) -> int:
    """The 64-bit two's complement of `value`, as torch.int64 wants it."""
    value &= _MASK
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift(z: Tensor, bits: int) -> Tensor:
    """Logical right shift (torch's is arithmetic)."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _mix(z: Tensor) -> Tensor:
    """The splitmix64 finaliser on int64 tensors."""
    z = (z ^ _shift(z, 30)) * _MIX_1
    z = (z ^ _shift(z, 27)) * _MIX_2
    return z ^ _shift(z, 31)


class Draws:
    """One random stream per example.

    seed: any int. ids: (n,) int64, stable ids of the examples. Draws made through one object advance its call counter,
    so two calls differ; `self[keep]` continues the same streams for a part of the examples, `fork(name)` starts
    independent ones.
    """

    def __init__(self, seed: int, ids: Tensor) -> None:
        root = torch.tensor(_signed(seed * 0x9E3779B97F4A7C15 + 1), dtype=torch.int64, device=ids.device)
        self._keys = _mix(_mix(root) + ids.to(torch.int64) * _GOLDEN)
        self._calls = 0

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, keep: Tensor | slice) -> Draws:
        """The streams of a part of the examples (boolean mask, index tensor or slice), at the same call counter."""
        part = object.__new__(Draws)
        part._keys, part._calls = self._keys[keep], self._calls
        return part

    def fork(self, name: int | str) -> Draws:
        """Independent streams for the same examples: one per attack, restart or target."""
        number = name if isinstance(name, int) else int.from_bytes(name.encode(), "little")
        part = object.__new__(Draws)
        salt = _mix(torch.tensor(_signed(_fold(number)), dtype=torch.int64, device=self._keys.device))
        part._keys, part._calls = _mix(self._keys ^ salt), 0
        return part

    def _bits(self, count: int) -> Tensor:
        """(n, count) int64 of 64 random bits."""
        self._calls += 1
        base = _mix(self._keys + _signed(self._calls * _GOLDEN))
        index = torch.arange(1, count + 1, dtype=torch.int64, device=base.device)
        return _mix(base[:, None] + index * _GOLDEN)

    def uniform(self, *shape: int) -> Tensor:
        """(n, *shape) float32 in [0, 1), multiples of 2^-24."""
        return (_shift(self._bits(math.prod(shape)), 40).to(torch.float32) * 2.0**-24).reshape(-1, *shape)

    def normal(self, *shape: int) -> Tensor:
        """(n, *shape) float32 standard normal, by Box-Muller in float64."""
        bits = self._bits(2 * math.prod(shape))
        u, v = ((_shift(bits, 11).to(torch.float64) + 0.5) * 2.0**-53).chunk(2, dim=1)
        return (torch.sqrt(-2 * torch.log(u)) * torch.cos(2 * math.pi * v)).to(torch.float32).reshape(-1, *shape)

    def integers(self, high: int, *shape: int) -> Tensor:
        """(n, *shape) int64 in [0, high), by the high bits (bias below high / 2^53)."""
        bits = _shift(self._bits(math.prod(shape)), 11)
        if high == 1 << 53:  # all of them, as they are
            return bits.reshape(-1, *shape)
        return (bits.to(torch.float64) * 2.0**-53 * high).floor().to(torch.int64).clamp_(max=high - 1).reshape(-1, *shape)

    def signs(self, *shape: int) -> Tensor:
        """(n, *shape) float32, -1 or +1 with equal probability."""
        return 1.0 - 2.0 * (self._bits(math.prod(shape)) & 1).to(torch.float32).reshape(-1, *shape)


def _fold(number: int) -> int:
    """Folds an int of any length into 64 bits, position-dependent."""
    folded = 0
    while number:
        folded = (folded * 0x100000001B3 + (number & _MASK) + 1) & _MASK
        number >>= 64
    return folded
