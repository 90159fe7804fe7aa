"""Where no gradient leads anywhere, the canary of every kind of threat sings, and the full search breaks what climbs left."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from evaluator.attacks.base import Batch
from evaluator.attacks.pgd import PGD
from evaluator.draws import Draws
from evaluator.ensembles import Ensemble, Search, Stage, standard
from evaluator.ensembles.guarded import Guarded
from evaluator.ensembles.in_expectation import InExpectation
from evaluator.ensembles.standard import ROUNDS, Standard
from evaluator.models.meter import Meter, MeteredModel
from evaluator.threats import L0, L1, L2, Color, Linf, Patch, RotationTranslation, Spatial, Sum, Threat
from evaluator.threats.physical import Physical, Views

COUNT = 6
KINDS: dict[str, Threat] = {
    "l0": L0(6),
    "l1": L1(4.0),
    "patch": Patch(4),
    "rotation-translation": RotationTranslation(30.0, 3.0),
    "spatial": Spatial(1.0),
    "color": Color(0.4, 0.8),
    "sum": Sum((RotationTranslation(20.0, 2.0), Linf(0.1))),
    "physical": Physical(Patch(6), Views(), samples=8),
}


class Masked(nn.Module):
    """A linear classifier behind an input rounded to eight levels: no gradient at all, and no more robust for it."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(4)
        weights = torch.randn(3, 1, 6, 6, generator=generator).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        self.register_buffer("weights", weights.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        levels = (x * 7).round() / 7 - 0.5
        return (levels.flatten(1)[:, None, :] * self.weights).sum(dim=2)


def examples(network: nn.Module) -> Batch:
    x = torch.rand(200, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    top = network(x).topk(2, dim=1).values
    gap = top[:, 0] - top[:, 1]
    x = x[((gap > 2.0) & (gap < 6.0)).nonzero().squeeze(1)[:COUNT]]
    return Batch(x, network(x).argmax(dim=1), Draws(1, torch.arange(len(x))))


def run(ensemble: Ensemble, threat: Threat, batch: Batch, network: nn.Module) -> Search:
    return ensemble.run(MeteredModel(network, Meter(), classes=3), batch, threat, lambda step: None)


@pytest.mark.parametrize("kind", KINDS)
def test_behind_a_masked_gradient_the_canary_sings_and_the_full_search_breaks_what_climbs_left(kind: str) -> None:
    network, threat = Masked(), KINDS[kind]
    ensemble, batch = standard(threat), examples(network)
    assert isinstance(ensemble, Guarded | InExpectation)
    climb = Stage("gradient alone", PGD(steps=5, random_start=False))
    if isinstance(ensemble, Guarded):
        alone: Guarded | InExpectation = dataclasses.replace(ensemble, climbs=(climb,), audit=0.0)
    else:  # every look is at many views: two images, and the one full search that needs no gradient either
        alone, batch = dataclasses.replace(ensemble, climbs=(climb,), full=ensemble.full[1:]), batch[:2]
    found = run(alone, threat, batch, network)
    climbed, canary, *full = found.records
    assert (climbed.broken, canary.tried) == (0, len(batch))
    assert canary.broken + sum(record.tried for record in full[:1]) >= len(batch) // 2, "it came near, or broke them itself"
    assert canary.broken + sum(record.broken for record in full) >= len(batch) // 2


@pytest.mark.parametrize("threat", [Linf(0.12), L2(1.5)], ids=["linf", "l2"])
def test_a_ball_has_a_canary_too_and_behind_it_a_search_that_needs_no_gradient(threat: Threat) -> None:
    network = Masked()
    x = torch.rand(400, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    batch = Batch(x, network(x).argmax(dim=1), Draws(1, torch.arange(len(x))))
    assert isinstance(standard(threat), Standard)
    last = standard(threat).fallback[-1]  # type: ignore[attr-defined]
    short = Stage(last.name, dataclasses.replace(last.attack, queries=150))
    found = run(Standard(rounds=ROUNDS[:1], boundary=False, square=False, fallback=(short,)), threat, batch, network)
    assert "black-box-beats-white-box" in {flag.check for flag in found.flags}
    assert found.records[-1].name == "full Square"
    assert found.records[-1].broken > len(x) // 4
