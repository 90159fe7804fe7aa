"""Smoothing noise: how it is drawn, and the exact link between a class probability and an L2 radius.

A noise model answers three questions about g(x) = argmax_c P(f(x + d) = c): how to draw d, which radius a probability
p_y buys (`radius`), and which probability a radius needs (`threshold`, its inverse). Radii are rounded down and
thresholds up, so float64 rounding never makes a certificate.

Noise is keyed by a secret seed, an example's id and a block number and by nothing else. What an example draws does not
depend on how examples are batched, and a submission cannot foresee it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import special
from torch import Tensor

from evaluator.certify.binomial import Array, down, up
from evaluator.draws import Draws
from evaluator.errors import InputError

LEVELS = 255  # 8-bit inputs are multiples of 1/255
_BLOCKS = 1 << 24  # blocks of draws an example may use: far above any n
_BITS = 53


class Noise(ABC):
    """A noise distribution on R^d with per-coordinate standard deviation `sigma` (in [0, 1] pixel units)."""

    sigma: float
    name: str

    @abstractmethod
    def sample(self, x: Tensor, draws: Draws, count: int) -> Tensor:
        """(n, count, *shape): `count` noisy copies of each of the n inputs, not clipped to the box."""

    @abstractmethod
    def radius(self, p: npt.ArrayLike, dimension: int) -> Array:
        """The L2 radius within which a class of probability >= p keeps probability > 1/2; 0 where p <= 1/2."""

    @abstractmethod
    def threshold(self, radius: npt.ArrayLike, dimension: int) -> Array:
        """The probability that must be exceeded for that radius (1 where no probability buys it)."""

    def slack(self, dimension: int) -> float:
        """Total variation between the noise drawn and the noise the radius is derived for; taken off p."""
        return 0.0

    def check(self, x: Tensor) -> None:  # noqa: B027 (most noises accept every input)
        """Raises InputError if these inputs cannot be smoothed soundly."""


def block_draws(seed: int, ids: Tensor, blocks: Tensor) -> Draws:
    """One stream per (example, block). ids: (n,) in [0, 2^39); blocks: (n,) in [0, 2^24)."""
    return Draws(seed, ids.to(torch.int64) * _BLOCKS + blocks.to(torch.int64))


def normal(draws: Draws, *shape: int) -> Tensor:
    """(n, *shape) float32 standard normal, both halves of Box-Muller from one 53-bit draw (27 bits radius, 26 angle).

    Four times fewer hashes than `Draws.normal`, which would cost more than a small model's forward. The tail ends at 6.2
    standard deviations, beyond which 6e-10 of the mass lies; `QuantizedGaussian` is exact to 2^-53 where that matters.
    """
    count = math.prod(shape)
    half = (count + 1) // 2
    bits = draws.integers(1 << _BITS, half)
    radius = (bits >> 26).to(torch.float32).add_(0.5).mul_(2.0**-27).log_().mul_(-2).sqrt_()
    angle = (bits & ((1 << 26) - 1)).to(torch.float32).mul_(2 * math.pi * 2.0**-26)
    both = torch.empty(len(draws), 2 * half, device=bits.device)
    torch.mul(radius, torch.cos(angle), out=both[:, :half])
    torch.mul(radius, angle.sin_(), out=both[:, half:])
    return both[:, :count].reshape(-1, *shape)


def repeated(x: Tensor, count: int) -> Tensor:
    """(n, *shape) -> (n, count, *shape) without copying."""
    return x[:, None].expand(-1, count, *x.shape[1:])


@dataclass(frozen=True)
class Gaussian(Noise):
    """d ~ N(0, sigma^2 I): radius sigma * Phi^-1(p) (Cohen et al. 2019, theorem 1 with pB = 1 - pA)."""

    sigma: float
    name = "gaussian"

    def sample(self, x: Tensor, draws: Draws, count: int) -> Tensor:
        return normal(draws, count, *x.shape[1:]).to(x.dtype).mul_(self.sigma).add_(repeated(x, count))

    def radius(self, p: npt.ArrayLike, dimension: int) -> Array:
        return np.maximum(down(self.sigma * special.ndtri(np.clip(down(p), 0.5, 1.0))), 0.0)

    def threshold(self, radius: npt.ArrayLike, dimension: int) -> Array:
        return np.minimum(up(special.ndtr(up(np.asarray(radius, dtype=np.float64) / self.sigma))), 1.0)


@dataclass(frozen=True)
class UniformBall(Noise):
    """d uniform in an L2 ball of radius R = sigma * sqrt(d + 2), whose coordinates have standard deviation sigma.

    Moving the ball's centre by r leaves the overlap of two balls. The rest has mass, by the volume of a spherical cap,
        TV(r) = I_{(r / 2R)^2}(1/2, (d + 1)/2)     (I: the regularised incomplete beta function).
    A class of probability p keeps at least p - TV(r), and no less can be promised (Neyman-Pearson: give up the part of
    the ball that leaves the overlap first). So it stays above 1/2 exactly when TV(r) < p - 1/2:
        radius = 2R sqrt(I^-1(p - 1/2; 1/2, (d + 1)/2)).
    Derived here; the same family is treated by Yang et al. 2020, "Randomized Smoothing of All Shapes and Sizes", sec. 4.
    """

    sigma: float
    name = "ball"

    def support(self, dimension: int) -> float:
        """R, the radius of the ball that noise is drawn from."""
        return float(self.sigma * np.sqrt(dimension + 2.0))

    def sample(self, x: Tensor, draws: Draws, count: int) -> Tensor:
        direction = normal(draws, count, *x.shape[1:]).to(x.dtype)
        flat = direction.reshape(len(x), count, -1)
        d = flat.shape[2]
        length = self.support(d) * torch.pow(draws.uniform(count, 1).double(), 1.0 / d)
        flat = flat * (length / flat.double().norm(dim=2, keepdim=True)).to(x.dtype)
        moved: Tensor = repeated(x, count) + flat.reshape(direction.shape)
        return moved

    def radius(self, p: npt.ArrayLike, dimension: int) -> Array:
        excess = np.clip(down(p) - 0.5, 0.0, 0.5)
        share = special.betaincinv(0.5, (dimension + 1) / 2, excess)
        return np.maximum(down(2 * self.support(dimension) * np.sqrt(share)), 0.0)

    def threshold(self, radius: npt.ArrayLike, dimension: int) -> Array:
        share = np.minimum((up(radius) / (2 * self.support(dimension))) ** 2, 1.0)
        return np.minimum(up(0.5 + special.betainc(0.5, (dimension + 1) / 2, up(share).clip(0.0, 1.0))), 1.0)


@dataclass(frozen=True)
class QuantizedGaussian(Noise):
    """Gaussian noise for 8-bit inputs, sampled in integers: sound in floating point (cf. Voracek and Hein 2023).

    The smoothed classifier is that of f o Q, where Q rounds a real image to the nearest multiples of 1/255. It is
    an ordinary function on R^d, so Gaussian's radius holds for it. For x on the grid, Q(x + d) is x plus an integer multiple
    of 1/255 with P(j) = Phi((j + 1/2)/s) - Phi((j - 1/2)/s), s = 255 sigma. It is drawn here by inversion of a table from
    53-bit uniform integers. No float addition of noise takes place, so nothing about x leaks through its rounding. The
    table's rounding is bounded in total variation by `slack` and charged against p.
    """

    sigma: float
    name = "quantized-gaussian"

    def table(self) -> Array:
        """2^53 Phi((j + 1/2)/s) for j = -J .. J-1, with Phi at both ends rounding to 0 and 1."""
        scale = LEVELS * self.sigma
        reach = int(np.ceil(8.5 * scale)) + 1
        return np.asarray(np.floor(special.ndtr((np.arange(-reach, reach) + 0.5) / scale) * 2.0**_BITS))

    def sample(self, x: Tensor, draws: Draws, count: int) -> Tensor:
        table = torch.from_numpy(self.table()).to(torch.int64).to(x.device)
        uniform = draws.integers(1 << _BITS, count, *x.shape[1:])
        steps = torch.bucketize(uniform, table, right=True) - len(table) // 2
        levels = (x * LEVELS).round().to(torch.int64)
        return (repeated(levels, count) + steps).to(x.dtype) / LEVELS

    def radius(self, p: npt.ArrayLike, dimension: int) -> Array:
        return Gaussian(self.sigma).radius(np.asarray(p, dtype=np.float64) - self.slack(dimension), dimension)

    def threshold(self, radius: npt.ArrayLike, dimension: int) -> Array:
        return np.minimum(Gaussian(self.sigma).threshold(radius, dimension) + self.slack(dimension), 1.0)

    def slack(self, dimension: int) -> float:
        return float(dimension * (len(self.table()) + 1) * 2.0 ** (3 - _BITS))

    def check(self, x: Tensor) -> None:
        if float((x * LEVELS - (x * LEVELS).round()).abs().amax()) > 1e-3:
            raise InputError(
                "quantized noise needs 8-bit inputs (multiples of 1/255).", help='Round the images, or use noise "gaussian".'
            )


NOISES: dict[str, type[Gaussian] | type[UniformBall] | type[QuantizedGaussian]] = {
    kind.name: kind for kind in (Gaussian, UniformBall, QuantizedGaussian)
}


def build_noise(name: str, sigma: float | None) -> Noise:
    """The noise of that name. Raises InputError for an unknown name or a sigma that is missing or not positive."""
    if name not in NOISES:
        raise InputError(f'there is no noise named "{name}".', help=f"Known: {', '.join(NOISES)}.")
    if sigma is None or not 0 < sigma <= 10:
        raise InputError(
            "sigma is missing." if sigma is None else f"sigma must lie in (0, 10], got {sigma}.",
            where="certificate",
            help="Smoothing needs the standard deviation of its noise, for example sigma = 0.25.",
        )
    return NOISES[name](float(sigma))
