"""The worst of a finite set of common corruptions, as a threat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.threats.base import Threat, flat
from evaluator.threats.corruptions.registry import KINDS, corrupt


@dataclass(frozen=True)
class Corruptions(Threat):
    """A point is (n, 2) whole numbers: which of `kinds` (1, 2, ...; 0 for none), and which realization (0, 1, ...).

    A realization's randomness depends on the image and on its number alone, so that each image has
    len(kinds) * realizations corrupted forms: no more however long an attack searches. Nothing leads from one to
    another: the gradient is 0 and an attack tries random starts, or all of `points`. distance is the severity, 0 or
    `severity`, which is epsilon.
    """

    severity: int
    kinds: tuple[str, ...] = tuple(KINDS)
    realizations: int = 1
    kind = "corruptions"
    search = "every point"

    def __post_init__(self) -> None:
        if self.severity not in range(1, 6) or self.realizations < 1 or not self.kinds or not set(self.kinds) <= set(KINDS):
            raise InputError("severity must be 1 to 5, realizations at least 1, kinds known.", where="threat corruptions")

    @property
    def epsilon(self) -> float:  # type: ignore[override]
        """The severity."""
        return float(self.severity)

    def start(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), 2)

    def apply(self, x: Tensor, z: Tensor) -> Tensor:
        """Corrupts each image as its point says (the nearest point's way); constant in z, so its gradient is 0."""
        chosen = self.project(x, z.detach().nan_to_num(0.0)).long()
        streams = Draws(0, _fingerprint(x) + chosen[:, 1] * 0x5851F42D4C957F2D)
        rendered = x.clone()
        for number in chosen[:, 0].unique().tolist():
            if number:
                rows = (chosen[:, 0] == number).nonzero().squeeze(1)
                rendered[rows] = corrupt(x[rows], self.kinds[number - 1], self.severity, streams[rows])
        return rendered + (z.nan_to_num(0.0, 0.0, 0.0) * 0).sum(dim=1).reshape(-1, *[1] * (x.dim() - 1))

    def points(self, x: Tensor) -> Iterator[Tensor]:
        """Every point but that of no corruption, each for all images at once."""
        for number in range(1, len(self.kinds) + 1):
            for realization in range(self.realizations):
                yield x.new_tensor([number, realization]).expand(len(x), 2)

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        limits = torch.tensor([len(self.kinds), self.realizations - 1], dtype=z.dtype, device=z.device)
        return torch.minimum(z.round().clamp_min(0), limits)

    def random_start(self, x: Tensor, draws: Draws) -> Tensor:
        """Exactly uniform: any kind, any realization."""
        which, realization = draws.integers(len(self.kinds), 1) + 1, draws.integers(self.realizations, 1)
        return torch.cat([which, realization], dim=1).to(x.dtype)

    def steepest_step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        """No move: the set is a handful of unconnected points."""
        return torch.zeros_like(gradient)

    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        severity = torch.where(z[:, 0] == 0, 0.0, self.epsilon).double()
        return torch.where(flat(self.project(x, z) != z).any(dim=1), torch.inf, severity)


def _fingerprint(x: Tensor) -> Tensor:
    """(n,) int64 of each image's bits: the same on every device and in every batch."""
    bits = flat(x.float().contiguous()).view(torch.int32).to(torch.int64)
    place = torch.arange(1, bits.shape[1] + 1, device=x.device) * 0x14057B7EF767814F
    mixed = (bits + place) * 0x2545F4914F6CDD1D
    return (mixed ^ (mixed >> 29)).sum(dim=1)
