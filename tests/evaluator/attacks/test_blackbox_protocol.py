"""What every black-box attack promises, one table: its budget, its threat, its randomness, its access level."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from evaluator.attacks.base import Attack, Model
from evaluator.attacks.boundary import Boundary
from evaluator.attacks.corner_search import CornerSearch
from evaluator.attacks.geoda import GeoDA
from evaluator.attacks.greedy_pixels import GreedyPixels
from evaluator.attacks.hopskipjump import HopSkipJump
from evaluator.attacks.local_search import LocalSearch
from evaluator.attacks.nes import NES
from evaluator.attacks.opt_attack import OptAttack
from evaluator.attacks.random_search import RandomSearch
from evaluator.attacks.registry import entries
from evaluator.attacks.simba import SimBA
from evaluator.attacks.sparse_rs import SparseRS
from evaluator.attacks.spsa import SPSA
from evaluator.attacks.square import Square
from evaluator.attacks.stored_inputs import StoredInputs
from evaluator.attacks.substitute import Substitute
from evaluator.attacks.universal import Universal
from evaluator.attacks.zoo import ZOO
from evaluator.models.access import LabelOracle
from evaluator.threats import L0, L1, L2, Linf, Threat
from tests.evaluator.blackbox import Constant, Counted, Curved, ScoresOnly, images

ORACLES: dict[str, Callable[[Model], Model]] = {"scores": ScoresOnly, "labels": LabelOracle, "none": LabelOracle}


@dataclass(frozen=True)
class Case:
    """An attack under test. rows: the most model rows it may use per example; together: the batch trains something, so that
    an example's result depends on its neighbours; random: its seed matters."""

    attack: Attack
    threat: Threat
    rows: int
    together: bool = False
    random: bool = True

    def __str__(self) -> str:
        return f"{type(self.attack).__name__}-{self.threat.kind}"


CASES = [
    Case(Square(queries=60), Linf(0.1), 60),
    Case(Square(queries=60), L2(0.5), 60),
    Case(Square(queries=60), L1(2.0), 60),
    Case(Square(queries=20, restarts=3), Linf(0.1), 60),
    Case(ZOO(queries=200, coordinates=8), L2(0.5), 200),
    Case(LocalSearch(queries=90, probes=8, pixels=2), L0(6), 90),
    Case(LocalSearch(queries=90, probes=8, pixels=2), Linf(0.1), 90),
    Case(SimBA(queries=60), Linf(0.1), 60),
    Case(SimBA(queries=60), L2(0.5), 60),
    Case(SimBA(queries=60), L1(2.0), 60),
    Case(SparseRS(queries=60), L0(6), 60),
    Case(SparseRS(queries=20, restarts=3), L0(6), 60),
    Case(GreedyPixels(queries=90, shortlist=8), L0(6), 90),
    Case(GreedyPixels(queries=90, shortlist=8), L1(2.0), 90),
    Case(CornerSearch(queries=90, top=10), L0(6), 90),
    Case(RandomSearch(queries=60, starts=5), Linf(0.1), 60),
    Case(RandomSearch(queries=60, starts=5), L2(0.5), 60),
    Case(NES(queries=90, pairs=5), Linf(0.1), 90),
    Case(NES(queries=90, pairs=5), L1(2.0), 90),
    Case(SPSA(queries=90, pairs=5), Linf(0.1), 90),
    Case(SPSA(queries=90, pairs=5), L2(0.5), 90),
    Case(HopSkipJump(queries=150, samples=20), L2(0.5), 150),
    Case(HopSkipJump(queries=150, samples=40), Linf(0.1), 150),
    Case(GeoDA(queries=150, iterations=3), L2(0.5), 150),
    Case(GeoDA(queries=150, iterations=3, frequencies=0.5), Linf(0.1), 150),
    Case(Boundary(queries=150), L2(0.5), 150),
    Case(OptAttack(queries=150, samples=20, trials=10), L2(0.5), 150),
    Case(OptAttack(queries=150, samples=20, trials=10), Linf(0.1), 150),
    Case(OptAttack(queries=150, samples=5, trials=10, estimator="rgf"), L2(0.5), 150),
    Case(Substitute(rounds=2, epochs=2, steps=5), Linf(0.1), 6, together=True),
    Case(Universal(passes=2), L2(0.5), 10_000, together=True, random=False),
    Case(StoredInputs(images(6, 3, 6, 6), images(6, 3, 6, 6, seed=1)), L2(0.5), 0, random=False),
]
everywhere = pytest.mark.parametrize("case", CASES, ids=str)
alone_or_not = pytest.mark.parametrize("case", [case for case in CASES if not case.together], ids=str)
seeded = pytest.mark.parametrize("case", [case for case in CASES if case.random], ids=str)


def access(attack: Attack) -> str:
    return next(entry.access for entry in entries() if entry.factory is type(attack))


@everywhere
def test_it_needs_no_more_than_its_access_level_gives(case: Case) -> None:
    model, x = Curved(3 * 6 * 6, seed=5), images(8, 3, 6, 6)
    y = model(x).argmax(dim=1)
    level = access(case.attack)
    oracle = model if level == "gradients" else ORACLES[level](model)
    points = case.attack(oracle, x, y, case.threat)
    assert torch.equal(points, case.attack(model, x, y, case.threat))
    assert not points.requires_grad


@everywhere
def test_the_points_are_images_inside_the_threat(case: Case) -> None:
    model, x = Curved(3 * 6 * 6, seed=5), images(8, 3, 6, 6)
    x[0], x[1] = 0.0, 1.0
    y = model(x).argmax(dim=1)
    points = case.attack(model, x, y, case.threat)
    assert points.shape == x.shape
    assert points.dtype == torch.float32
    assert bool(((points >= 0) & (points <= 1)).all())
    if not case.attack.minimal_norm:
        assert bool(case.threat.contains(x, points, slack=0).all())


@everywhere
def test_constant_logits_cost_no_more_than_the_budget_and_raise_nothing(case: Case) -> None:
    model, x = Counted(Constant()), images(5, 1, 6, 6)
    case.attack(model, x, torch.zeros(5, dtype=torch.long), case.threat)
    assert model.rows <= 5 * case.rows


@everywhere
def test_a_robust_example_uses_the_budget_and_never_more(case: Case) -> None:
    model, x = Counted(Curved(1 * 6 * 6, seed=1)), images(1, 1, 6, 6)
    y = model.model(x).argmax(dim=1)
    case.attack(model, x, y, case.threat)
    assert model.rows <= case.rows


@everywhere
def test_inputs_are_never_asked_about_outside_the_box(case: Case) -> None:
    model, x = Counted(Curved(36, seed=1)), images(4, 1, 6, 6)
    x[0], x[1] = 0.0, 1.0
    case.attack(model, x, model.model(x).argmax(dim=1), case.threat)
    assert model.inside


@alone_or_not
def test_a_row_alone_gives_what_it_gives_in_a_batch(case: Case) -> None:
    model, x = Curved(3 * 6 * 6, seed=5), images(6, 3, 6, 6)
    y = model(x).argmax(dim=1)
    together = case.attack(model, x, y, case.threat)
    for row in (0, 3, 5):
        alone = case.attack(model, x[row : row + 1], y[row : row + 1], case.threat, ids=torch.tensor([row]))
        assert torch.equal(alone[0], together[row])


@seeded
def test_the_seed_decides(case: Case) -> None:
    model, x = Curved(3 * 6 * 6, seed=5), images(6, 3, 6, 6)
    y = model(x).argmax(dim=1)
    first, again, other = (case.attack(model, x, y, case.threat, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@everywhere
def test_an_input_that_is_misclassified_already_is_answered_by_an_adversarial_point(case: Case) -> None:
    model, x = Curved(36, seed=5), images(4, 1, 6, 6)
    y = (model(x).argmax(dim=1) + 1) % 3
    points = case.attack(model, x, y, case.threat)
    assert bool((model(points).argmax(dim=1) != y).all())


@everywhere
def test_flat_inputs_and_an_empty_batch_work(case: Case) -> None:
    model, x = Curved(7, seed=2), images(4, 7)
    y = model(x).argmax(dim=1)
    assert case.attack(model, x, y, case.threat).shape == (4, 7)
    assert case.attack(model, x[:0], y[:0], case.threat).shape == (0, 7)
