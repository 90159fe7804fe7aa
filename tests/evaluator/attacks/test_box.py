"""Whatever an evaluator asks of a classifier lies in [0, 1]: every attack, every check and every ensemble, under every threat.

Honest front ends such as (x + 0.01) ** 0.8 have no answer elsewhere. Smoothing alone asks outside, which manifests declare.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evaluator.adaptive.automatic import Automatic
from evaluator.attacks.base import Attack, Batch
from evaluator.attacks.interval import IntervalAttack
from evaluator.attacks.registry import create, entries
from evaluator.checks import Subject, examine, registered
from evaluator.data.tensors import Examples
from evaluator.draws import Draws
from evaluator.ensembles import standard
from evaluator.host.inspection import inspect
from evaluator.judging.defense import Defense
from evaluator.judging.evaluation import evaluate
from evaluator.models.meter import Meter, MeteredModel
from evaluator.threats import (
    L0,
    L1,
    L2,
    Color,
    Linf,
    Patch,
    Physical,
    RotationTranslation,
    Spatial,
    Sum,
    Threat,
    Union,
)
from evaluator.threats.corruptions import Corruptions

SIDE = 12
THREATS: dict[str, Threat] = {
    "linf": Linf(0.2),
    "linf, tiny": Linf(0.0005),
    "l2": L2(0.8),
    "l1": L1(4.0),
    "l1, spread": L1(4.0, share=0.2),
    "l0": L0(5),
    "union": Union((Linf(0.05), L2(0.5))),
    "spatial": Spatial(0.8),
    "rotation": RotationTranslation(30, 2),
    "color": Color(0.2, 0.1, nodes=3),
    "sum": Sum((RotationTranslation(10, 1), Color(0.1, 0.1, nodes=3), Linf(0.1))),
    "patch": Patch(3),
    "physical": Physical(Patch(4), samples=3),
    "corruptions": Corruptions(3, realizations=2),
}
FEW: dict[str, Any] = {
    "steps": 6, "restarts": 2, "rounds": 2, "searches": 2, "targets": 2, "particles": 2, "moves": 2, "queries": 400,
    "pairs": 4, "trials": 5, "samples": 10, "max_samples": 20, "probes": 8, "passes": 1, "epochs": 1, "attempts": 2,
    "coordinates": 16, "sigma": 0.05, "delta": 0.05, "h": 0.05, "augmentation": 0.3,
}  # fmt: skip


class Watched(nn.Module):
    """A random network that notes the least and the largest value it was asked about."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 16), nn.ReLU(), nn.Linear(16, 4))
        with torch.no_grad():
            for layer in (self.layers[1], self.layers[3]):
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * 3 / layer.in_features**0.5)
                layer.bias.copy_(0.1 * torch.randn(layer.bias.shape, generator=generator))
        self.requires_grad_(False)
        self.lowest, self.highest, self.rows = 0.5, 0.5, 0

    def forward(self, x: Tensor) -> Tensor:
        if len(x):
            seen = x.detach()
            self.lowest, self.highest = min(self.lowest, float(seen.min())), max(self.highest, float(seen.max()))
        self.rows += len(x)
        logits: Tensor = self.layers(x)
        return logits

    def check(self) -> None:
        assert self.rows > 0
        assert self.lowest >= 0, f"asked about {self.lowest}"
        assert self.highest <= 1, f"asked about {self.highest}"


@functools.cache
def pictures(count: int) -> Tensor:
    """(count, 1, 12, 12): a third of the pixels at each wall of the box, as in digits."""
    generator = torch.Generator().manual_seed(1)
    return (1.6 * torch.rand(count, 1, SIDE, SIDE, generator=generator) - 0.3).clamp(0, 1)


def batch(model: nn.Module, count: int = 4) -> Batch:
    return Batch(pictures(count), model(pictures(count)).argmax(dim=1), Draws(0, torch.arange(count)))


ATTACKS = [
    pytest.param(entry.name, name, id=f"{entry.name}-{name}")
    for entry in entries()
    for name, threat in THREATS.items()
    if entry.access != "none" and (entry.threats == ("*",) or threat.kind in entry.threats)
]


def small(name: str, model: Watched) -> Attack:
    """The attack with few steps. Options that are no plain number are left as they are."""
    known = next(entry.options for entry in entries() if entry.name == name)
    chosen = {option: value for option, value in FEW.items() if isinstance(known.get(option), int | float)}
    attack = create(name, **chosen)
    return attack if not isinstance(attack, IntervalAttack) else IntervalAttack(steps=4, moves=2, network=model.layers)


@pytest.mark.parametrize(("attack", "threat"), ATTACKS)
def test_an_attack_asks_inside_the_box(attack: str, threat: str) -> None:
    model = Watched()
    small(attack, model).run(model, batch(model), THREATS[threat])
    model.check()


@pytest.mark.parametrize("threat", THREATS)
def test_every_check_asks_inside_the_box(threat: str) -> None:
    model = Watched()
    found = examine(Subject(MeteredModel(model, Meter(), classes=4), batch(model, 12), THREATS[threat]))
    assert {finding.check for finding in found} == {c.name for c in registered() if c.applies(THREATS[threat])}
    model.check()


QUICK = ("linf", "linf, tiny", "l2", "union", "rotation", "corruptions")  # to evaluate; the others take a minute each


@pytest.mark.parametrize("threat", [*QUICK, *(pytest.param(t, marks=pytest.mark.nightly) for t in THREATS if t not in QUICK)])
def test_a_whole_evaluation_and_its_adaptive_attack_ask_inside_the_box(threat: str) -> None:
    model = Watched()
    part = batch(model, 3)
    examples = Examples(torch.arange(3), part.x, part.y, 4)
    evaluate(Defense.of(model), examples, THREATS[threat], standard(THREATS[threat]), seed=0, keep=True)
    model.check()
    Automatic(steps=4, queries=200).run(MeteredModel(model, Meter(), classes=4), part, THREATS[threat])
    model.check()


def test_a_look_into_a_model_asks_it_inside_the_box() -> None:
    model = Watched()
    inspect(model, pictures(4))
    model.check()
