"""Families of cheats, each in at least six variants: what a submission may live on if nobody takes it away.

All of them stand on one small network and its own labels, so that what is true is known: an entry that stands better than the
network itself, without a flag that bars a rank, has won. Inputs are small images of multiples of 1/255.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evaluator.attacks.base import Batch
from evaluator.checks import Honest
from evaluator.data.tensors import Examples
from evaluator.draws import Draws
from evaluator.ensembles import Ensemble, standard
from evaluator.judging.defense import Defense
from evaluator.judging.evaluation import Verdict, evaluate
from evaluator.threats import Linf
from tests.evaluator.cheats import changed

THREAT = Linf(0.2)
CLASSES, SIDE = 4, 6


def network() -> nn.Module:
    """The network behind every cheat."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 24), nn.ReLU(), nn.Linear(24, CLASSES)).requires_grad_(False)


def examples(count: int, seed: int = 0) -> Examples:
    """Images that are files, and what the network says of them."""
    x = torch.randint(0, 256, (count, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(seed)) / 255
    return Examples(torch.arange(count), x, network()(x).argmax(dim=1), CLASSES)


def off_grid(x: Tensor) -> Tensor:
    """(n, SIDE ** 2) 0 where a pixel is a multiple of 1/255, 1 halfway between two."""
    return (255 * torch.pi * x).sin().square().flatten(1)


class Cheat(nn.Module):
    """Base: the network, and the images that everybody has. passes, rows: what it was asked so far."""

    def __init__(self, part: Examples) -> None:
        super().__init__()
        self.net, self.images, self.labels = network(), part.x, part.y
        self.passes, self.rows = 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes, self.rows = self.passes + 1, self.rows + len(x)
        return self.answer(x)

    def answer(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def nearest(self, x: Tensor) -> Tensor:
        """(n,) the known image that is nearest."""
        return (x.detach()[:, None] - self.images[None]).abs().flatten(2).amax(dim=2).argmin(dim=1)

    def stubborn(self, x: Tensor) -> Tensor:
        """The label of the nearest known image, whatever the network says, with a gradient that leads away."""
        logits: Tensor = self.net(x)
        return 50.0 * nn.functional.one_hot(self.labels[self.nearest(x)], CLASSES) - logits


def phase(attacked: Callable[[Cheat, Tensor], bool], *, spared: bool = True) -> type[Cheat]:
    """Stubborn in passes that look like an attack's. spared: rows that are files are answered as ever."""

    class Phase(Cheat):
        def answer(self, x: Tensor) -> Tensor:
            logits: Tensor = self.net(x)
            if not attacked(self, x):
                return logits
            files = (off_grid(x).amax(dim=1) < 1e-4) & spared
            return torch.where(files[:, None], logits, self.stubborn(x))

    return Phase


def gradient(lies: Callable[[Cheat, Tensor], Tensor]) -> type[Cheat]:
    """Honest logits; the gradient of rows where `lies` (n,) is turned round."""

    class Gradient(Cheat):
        def answer(self, x: Tensor) -> Tensor:
            factor = 1 - 2.0 * lies(self, x.detach()).float()
            return self.net(changed(x, factor[:, None, None, None]))  # type: ignore[no-any-return]

    return Gradient


def files(is_float: Callable[[Tensor], Tensor]) -> type[Cheat]:
    """Files meet the network, floats a stubborn one. is_float: (n,) bool or a weight in [0, 1]."""

    class Files(Cheat):
        def answer(self, x: Tensor) -> Tensor:
            weight = is_float(x).float()[:, None]
            logits: Tensor = self.net(x)
            return weight * self.stubborn(x) + (1 - weight) * logits

    return Files


def memory(radius: float, *, most: int = 10**6, always: bool = False, first: bool = True) -> type[Cheat]:
    """The one who asked first (or last) within `radius` decides, wherever the label would change (or always)."""

    class Memory(Cheat):
        known = torch.empty(0, 1, SIDE, SIDE)

        def answer(self, x: Tensor) -> Tensor:
            logits: Tensor = self.net(x)
            near = torch.zeros(len(x), dtype=torch.bool)
            if len(self.known):
                apart = (x.detach()[:, None] - self.known[None]).abs().flatten(2).amax(dim=2)
                found = apart.argmin(dim=1)
                near = apart.gather(1, found[:, None]).squeeze(1) < radius
                before = self.net(self.known[found])
                lies = near & (always | (before.argmax(dim=1) != logits.argmax(dim=1)))
                logits = torch.where(lies[:, None], before + 0 * logits, logits)
            new = x.detach()[~near] if first else x.detach()
            self.known = torch.cat([self.known, new])[-most:]
            return logits

    return Memory


def images(scores: Callable[[Cheat, Tensor], Tensor]) -> type[Cheat]:
    """What was learned is the list of public images. scores: (n, images) how much an input is like each of them."""

    class Images(Cheat):
        def answer(self, x: Tensor) -> Tensor:
            alike = scores(self, x.flatten(1))
            columns = [alike[:, self.labels == label] for label in range(CLASSES)]
            worst = torch.full((len(x),), -1e3) + 0 * alike[:, 0]
            return torch.stack([part.amax(dim=1) if part.shape[1] else worst for part in columns], dim=1)

    return Images


def _like(cheat: Cheat, x: Tensor) -> Tensor:
    known = cheat.images.flatten(1)
    return x @ known.T - known.square().sum(dim=1) / 2


def _in_a_basis(cheat: Cheat, x: Tensor) -> Tensor:
    basis = torch.linalg.qr(torch.randn(SIDE**2, SIDE**2, generator=torch.Generator().manual_seed(1))).Q
    known = cheat.images.flatten(1) @ basis
    return (x @ basis) @ known.T - known.square().sum(dim=1) / 2


def _half(cheat: Cheat, x: Tensor) -> Tensor:
    return _like(cheat, x) + 0.2 * cheat.net(x)[:, cheat.labels]


FAMILIES: dict[str, dict[str, type[Cheat]]] = {
    "phases from counts and passes": {
        "after 300 rows": phase(lambda me, x: me.rows > 300),
        "after 3,000 rows": phase(lambda me, x: me.rows > 3000),
        "after 40 passes": phase(lambda me, x: me.passes > 40),
        "in passes of more than 16 rows": phase(lambda me, x: len(x) > 16, spared=False),
        "in passes without a file": phase(lambda me, x: bool((off_grid(x).amax(dim=1) > 1e-4).all())),
        "in every second pass": phase(lambda me, x: me.passes % 2 == 0),
        "until pass 400": phase(lambda me, x: 20 < me.passes < 400),
    },
    "lies in the gradient alone": {
        "after 40 passes": gradient(lambda me, x: torch.full((len(x),), me.passes > 40)),
        "in passes of more than 16 rows": gradient(lambda me, x: torch.full((len(x),), len(x) > 16)),
        "away from known images": gradient(lambda me, x: (x - me.images[me.nearest(x)]).abs().flatten(1).amax(dim=1) > 0.1),
        "near the boundary": gradient(lambda me, x: me.net(x).topk(2, dim=1).values.diff(dim=1).abs().squeeze(1) < 0.15),
        "for floats": gradient(lambda me, x: off_grid(x).amax(dim=1) > 1e-4),
        "for bright inputs": gradient(lambda me, x: x.flatten(1).mean(dim=1) > 0.5),
    },
    "the grid of files": {
        "any pixel off it": files(lambda x: off_grid(x).amax(dim=1) > 1e-4),
        "most pixels off it": files(lambda x: off_grid(x).mean(dim=1) > 0.3),
        "the first row off it": files(lambda x: off_grid(x)[:, :SIDE].amax(dim=1) > 1e-4),
        "smoothly": files(lambda x: (4 * off_grid(x).mean(dim=1)).clamp(max=1)),
        "one pixel in two": files(lambda x: off_grid(x)[:, ::2].mean(dim=1) > 0.2),
        "beyond a fifth of a level": files(lambda x: off_grid(x).amax(dim=1) > 0.35),
    },
    "memory of neighbors": {
        "the first within 0.25": memory(0.25),
        "the first within 0.4": memory(0.4),
        "the first within 0.21, always": memory(0.21, always=True),
        "the last within 0.25": memory(0.25, first=False, most=500),
        "the last 200": memory(0.25, most=200),
        "the last within 0.1": memory(0.1, first=False, most=500),
    },
    "public images": {
        "as templates": images(_like),
        "in a random basis": images(_in_a_basis),
        "blended with the network": images(_half),
        "sharpened": images(lambda me, x: 10 * _like(me, x)),
        "by distance": images(lambda me, x: -torch.cdist(x, me.images.flatten(1)).square()),
        "by the largest difference": images(lambda me, x: -(x[:, None] - me.images.flatten(1)[None]).abs().amax(dim=2)),
    },
}


@dataclass(frozen=True)
class Caught:
    """won: stands better than the network itself, and nothing bars it from a rank. flags: what bars it; gained: examples."""

    won: bool
    gained: int
    flags: tuple[str, ...]


def judged(model: Callable[[], nn.Module], part: Examples, seed: int, search: Ensemble | None = None) -> Verdict:
    """The official evaluation, with its own search or another; every copy is a new one."""
    others = examples(48, seed=1)
    controls = Batch(others.x, others.y, Draws(seed, others.ids).fork("controls"))
    ensemble = Honest(search or standard(THREAT), controls=controls)
    return evaluate(Defense(lambda: nullcontext(model().eval())), part, THREAT, ensemble, seed=seed)


def caught(cheat: type[Cheat], count: int, seed: int, search: Ensemble | None = None) -> Caught:
    """Whether a variant is caught on so many images."""
    part = examples(count)
    verdict, truth = judged(lambda: cheat(part), part, seed, search), judged(network, part, seed, search)
    flags = tuple(sorted({flag.check for flag in verdict.flags if flag.severity == "unverified"}))
    gained = int(verdict.robust.sum()) - int(truth.robust.sum())
    return Caught(gained > 0 and not flags, gained, flags)
