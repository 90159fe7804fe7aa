"""Real inputs are files: what breaks as a file counts, and a network that only floats meet is searched as files meet it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from evaluator.attacks import PGD
from evaluator.attacks.apgd import APGD
from evaluator.attacks.base import Batch
from evaluator.draws import Draws
from evaluator.ensembles import Sequence, Stage
from evaluator.ensembles.base import Search
from evaluator.ensembles.grid_climb import GridClimb
from evaluator.ensembles.guarded import Guarded
from evaluator.ensembles.standard import ROUNDS, Standard
from evaluator.models.meter import Meter, MeteredModel
from evaluator.threats import L1, L2, Linf, Spatial, Threat

COUNT = 40
IMAGES = torch.randint(0, 256, (COUNT, 1, 6, 6), generator=torch.Generator().manual_seed(0)) / 255
QUICK = Standard(rounds=ROUNDS[:1], boundary=False, square=False, canary=False, fallback=())


def net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 4)).requires_grad_(False)


LABELS = net()(IMAGES).argmax(dim=1)


def off_grid(x: Tensor) -> Tensor:
    """(n,) 0 for files, about one half for floats."""
    return (255 * torch.pi * x).sin().square().flatten(1).mean(dim=1)


class Filed(nn.Module):
    """Files meet the network; floats meet one that knows the nearest clean image, and whose gradient leads away."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: Tensor) -> Tensor:
        nearest = (x.detach()[:, None] - IMAGES[None]).abs().flatten(2).amax(dim=2).argmin(dim=1)
        stubborn = 50.0 * nn.functional.one_hot(LABELS[nearest], 4)
        logits: Tensor = self.net(x)
        return torch.where(off_grid(x)[:, None] > 1e-6, stubborn - logits, logits)


def searched(model: nn.Module, ensemble: Standard | Guarded | Sequence, threat: Threat) -> tuple[Search, Meter]:
    meter = Meter()
    batch = Batch(IMAGES, LABELS, Draws(5, torch.arange(COUNT)))
    return ensemble.run(MeteredModel(model, meter, classes=4), batch, threat, lambda step: None), meter


def broken(search: Search) -> int:
    return int((search.broken_by >= 0).sum())


@pytest.mark.parametrize("threat", [Linf(0.2), L2(1.0)])
def test_a_network_that_files_meet_is_searched_on_the_grid_of_files(threat: Threat) -> None:
    honest, _ = searched(net(), QUICK, threat)
    found, _ = searched(Filed(), QUICK, threat)
    blind, _ = searched(Filed(), dataclasses.replace(QUICK, files=False), threat)
    assert broken(found) >= 0.9 * broken(honest)
    assert [flag.check for flag in found.flags] == ["files-beat-floats"]
    assert broken(blind) <= broken(found) - 5, "without the climb on the grid some stand"


def test_an_honest_network_pays_a_sixteenth_for_the_grid_and_is_not_flagged() -> None:
    threat, full = Linf(0.01), Standard(canary=False)
    with_files, paid = searched(net(), full, threat)
    without, less = searched(net(), dataclasses.replace(full, files=False), threat)
    assert with_files.flags == []
    assert broken(with_files) >= broken(without)
    assert paid.cost <= (1 + 1 / 16) * less.cost


@pytest.mark.parametrize("ensemble", ["sequence", "guarded"])
def test_the_end_of_every_attack_is_offered_as_a_file(ensemble: str) -> None:
    stage = Stage("APGD", APGD(steps=10, loss="margin"))
    kinds: dict[str, Guarded | Sequence] = {
        "sequence": Sequence("one", (stage,), files=True),
        "guarded": Guarded((stage,), stage, ()),
    }

    class Beside(nn.Module):
        """Honest gradients; only files change their label."""

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = net()(x)
            lifted = logits + 50.0 * nn.functional.one_hot(net()(IMAGES[near(x)]).argmax(dim=1), 4)
            return torch.where(off_grid(x)[:, None] > 1e-6, lifted, logits)

    found, _ = searched(Beside(), kinds[ensemble], Linf(0.12))
    honest, _ = searched(net(), kinds[ensemble], Linf(0.12))
    assert broken(found) > broken(honest) / 2 > 0
    asked = found.points[found.broken_by >= 0] * 255
    torch.testing.assert_close(asked, asked.round(), atol=1e-3, rtol=0)


def near(x: Tensor) -> Tensor:
    """(n,) the clean image nearest to each input."""
    return (x.detach()[:, None] - IMAGES[None]).abs().flatten(2).amax(dim=2).argmin(dim=1)


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.5), L1(3.0)])
def test_a_climb_on_the_grid_stays_on_it_and_inside_the_set(threat: Threat) -> None:
    batch = Batch(IMAGES, LABELS, Draws(1, torch.arange(COUNT)))
    points = GridClimb(steps=5).run(net(), batch, threat)
    torch.testing.assert_close(points * 255, (points * 255).round(), atol=1e-3, rtol=0)
    assert bool(threat.contains(IMAGES, points).all())


def test_where_points_are_no_inputs_nothing_is_asked() -> None:
    def refusing(x: Tensor) -> Tensor:
        raise AssertionError("nobody asks")

    batch, threat = Batch(IMAGES, LABELS, Draws(1, torch.arange(COUNT))), Spatial(1.0)
    assert torch.equal(GridClimb().run(refusing, batch, threat), threat.start(IMAGES))
    stage = Stage("PGD", PGD(steps=2))
    plain, less = searched(net(), Sequence("one", (stage,)), threat)
    files, same = searched(net(), Sequence("one", (stage,), files=True), threat)
    assert torch.equal(plain.points, files.points)
    assert less.cost == same.cost
