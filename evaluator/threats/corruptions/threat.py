"""The worst of a finite set of common corruptions, as a threat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.threats.base import Threat, flat, rows
from evaluator.threats.corruptions.registry import KINDS, corrupt


@dataclass(frozen=True)
class Corruptions(Threat):
    """A point is (n, 3) whole numbers: which of `kinds` (1, 2, ...; 0 for none), its severity, and which realization.

    severity: one, 1 to 5, or the lowest and the highest. A realization's randomness depends on the image and on its number
    (0, 1, ...) alone, so that each image has len(kinds) * len(severities) * realizations corrupted forms: no more however
    long an attack searches. Nothing leads from one to another: the gradient is 0 and an attack tries random starts, or all
    of `points`. distance is the severity, 0 for no corruption; the highest one is epsilon.
    """

    severity: int | tuple[int, int]
    kinds: tuple[str, ...] = tuple(KINDS)
    realizations: int = 1
    kind = "corruptions"
    search = "every point"

    def __post_init__(self) -> None:
        known = bool(self.severities) and set(self.severities) <= set(range(1, 6))
        if not known or self.realizations < 1 or not self.kinds or not set(self.kinds) <= set(KINDS):
            what = "severity must be 1 to 5, or the lowest and the highest; realizations at least 1, kinds known."
            raise InputError(what, where="threat corruptions")

    @property
    def severities(self) -> tuple[int, ...]:
        """Every severity, mild ones first."""
        low, high = (self.severity, self.severity) if isinstance(self.severity, int) else self.severity
        return tuple(range(low, high + 1))

    @property
    def epsilon(self) -> float:  # type: ignore[override]
        """The highest severity."""
        return float(self.severities[-1])

    def start(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), 3)

    def apply(self, x: Tensor, z: Tensor) -> Tensor:
        """Corrupts each image as its point says (the nearest point's way); constant in z, so its gradient is 0."""
        chosen = self.project(x, z.detach().nan_to_num(0.0)).long()
        streams = Draws(0, _fingerprint(x) + chosen[:, 2] * 0x5851F42D4C957F2D)
        rendered = x.clone()
        for number, severity in chosen[:, :2].unique(dim=0).tolist():
            if number:
                here = ((chosen[:, 0] == number) & (chosen[:, 1] == severity)).nonzero().squeeze(1)
                rendered[here] = corrupt(x[here], self.kinds[number - 1], severity, streams[here])
        return rendered + rows((z.nan_to_num(0.0, 0.0, 0.0) * 0).sum(dim=1), x)

    def points(self, x: Tensor) -> Iterator[Tensor]:
        """Every point but that of no corruption, each for all images at once: by kind, then mild ones first."""
        for number in range(1, len(self.kinds) + 1):
            for severity in self.severities:
                for realization in range(self.realizations):
                    yield x.new_tensor([number, severity, realization]).expand(len(x), 3)

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        low = z.new_tensor([0, self.severities[0], 0])
        high = z.new_tensor([len(self.kinds), self.severities[-1], self.realizations - 1])
        inside = torch.minimum(torch.maximum(z.round(), low), high)
        return torch.where(inside[:, :1] == 0, 0.0, inside)

    def random_start(self, x: Tensor, draws: Draws) -> Tensor:
        """Exactly uniform: any kind, any severity, any realization."""
        which = draws.integers(len(self.kinds), 1) + 1
        severity = draws.integers(len(self.severities), 1) + self.severities[0]
        return torch.cat([which, severity, draws.integers(self.realizations, 1)], dim=1).to(x.dtype)

    def steepest_step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        """No move: the set is a handful of unconnected points."""
        return torch.zeros_like(gradient)

    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        return torch.where(flat(self.project(x, z) != z).any(dim=1), torch.inf, z[:, 1].double())


def _fingerprint(x: Tensor) -> Tensor:
    """(n,) int64 of each image's bits: the same on every device and in every batch."""
    bits = flat(x.float().contiguous()).view(torch.int32).to(torch.int64)
    place = torch.arange(1, bits.shape[1] + 1, device=x.device) * 0x14057B7EF767814F
    mixed = (bits + place) * 0x2545F4914F6CDD1D
    return (mixed ^ (mixed >> 29)).sum(dim=1)
