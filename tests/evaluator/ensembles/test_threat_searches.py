"""A verdict holds under every threat: neither a ten-line attacker nor anything that we ship breaks more than one of 20 more."""

from __future__ import annotations

import dataclasses
import functools

import pytest
import torch
from torch import Tensor, nn

from evaluator.attacks import FGSM
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.registry import Entry, create, entries
from evaluator.data.tensors import examples, load
from evaluator.defenses.architectures import load_weights
from evaluator.defenses.recipes import BASELINES
from evaluator.draws import Draws
from evaluator.ensembles import Ensemble, Search, Stage, standard
from evaluator.ensembles.guarded import Guarded
from evaluator.manifests.spec import DataSpec
from evaluator.manifests.threat_specs import threat_kinds
from evaluator.models.meter import Meter, MeteredModel
from evaluator.threats import (
    L0,
    L1,
    L2,
    Color,
    Corruptions,
    Linf,
    Patch,
    Physical,
    RotationTranslation,
    Spatial,
    Sum,
    Threat,
    Union,
)
from tests.evaluator.simple_attackers import every_place, full_grid, greedy_pixels

THREATS: dict[str, Threat] = {
    "linf": Linf(0.35),
    "l2": L2(1.5),
    "l1": L1(8.0),
    "l0": L0(10),
    "patch": Patch(4),
    "rotation-translation": RotationTranslation(15.0, 1.0),
    "spatial": Spatial(0.6),
    "color": Color(0.4, 0.8),
    "sum": Sum((RotationTranslation(10.0, 1.0), Linf(0.05))),
    "union": Union((Linf(0.1), L2(1.0))),
    "corruptions": Corruptions((1, 5), ("fog", "contrast", "snow")),
    "physical": Physical(Patch(6), samples=8),
}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # a search and every attack on what it leaves
NOT_ALONE = {"interval", "stored_inputs", "substitute", "universal"}  # they need a network, inputs or a training set besides
SMALL = {"steps": 20, "restarts": 1, "queries": 500, "searches": 3, "rounds": 5}
NETWORKS = ["mnist-pgd", *(pytest.param(f"small {seed}", marks=pytest.mark.nightly) for seed in range(3))]
# One process for each kind, so that its official search runs once.
SEARCHES = {kind: pytest.param(kind, marks=pytest.mark.xdist_group(f"search {kind}")) for kind in THREATS}
kinds = pytest.mark.parametrize("kind", SEARCHES.values())
FEW = 4  # images in the default run; the nightly has 200
sizes = pytest.mark.parametrize("count", [FEW, pytest.param(200, marks=[pytest.mark.nightly, pytest.mark.timeout(7200)])])


@functools.cache
def network(name: str = "mnist-pgd") -> nn.Module:
    """A shipped network, or a small one that is trained here, from random weights, on perturbed images."""
    if not name.startswith("small"):
        return load_weights("mnist-cnn", BASELINES / name / "weights.safetensors").eval().requires_grad_(False)
    torch.manual_seed(int(name.removeprefix("small ")))
    layers = nn.Conv2d(1, 8, 4, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 13 * 13, 24), nn.ReLU(), nn.Linear(24, 10)
    small = nn.Sequential(*layers)
    part, optimizer = load("mnist", "train"), torch.optim.Adam(small.parameters(), lr=2e-3)
    for batch in torch.randperm(20_000).split(100):
        x = part.images[batch] / 255
        x = FGSM().run(small, Batch(x, part.labels[batch], Draws(0, batch)), Linf(0.15)).detach()
        optimizer.zero_grad()
        nn.functional.cross_entropy(small(x), part.labels[batch]).backward()
        optimizer.step()
    return small.eval().requires_grad_(False)


def how_many(kind: str, count: int) -> int:
    """Images of a matrix of that size: a small one has one under views, which is asked about many times."""
    return 1 if kind == "physical" and count == FEW else count


@functools.cache
def images(count: int, name: str = "mnist-pgd") -> tuple[Tensor, Tensor]:
    """Those of the first `count` ranked images that the network classifies correctly."""
    part = examples(DataSpec(dataset="mnist", examples=count))
    right = network(name)(part.x).argmax(dim=1) == part.y
    return part.x[right], part.y[right]


@functools.cache
def official(kind: str, count: int, name: str = "mnist-pgd") -> Search:
    return run(standard(THREATS[kind]), network(name), THREATS[kind], *images(count, name))


def run(ensemble: Ensemble, model: Model, threat: Threat, x: Tensor, y: Tensor) -> Search:
    batch = Batch(x, y, Draws(1, torch.arange(len(x))))
    return ensemble.run(MeteredModel(model, Meter(), classes=10), batch, threat, lambda step: None)


def standing(kind: str, count: int, name: str = "mnist-pgd") -> tuple[Tensor, Tensor]:
    x, y = images(count, name)
    left = official(kind, count, name).broken_by < 0
    return x[left], y[left]


def few(fell: Tensor, count: int) -> bool:
    """At most one of 20, or one."""
    return int(fell.sum()) <= max(1, count // 20)


def broken(name: str, threat: Threat, x: Tensor, y: Tensor, points: Tensor) -> Tensor:
    """(n,) bool: points of the threat that are misclassified; under views, on a share of fresh ones as in a verdict."""
    inside = threat.contains(x, points, slack=0)
    if isinstance(threat, Physical):
        batch = Batch(x, y, Draws(7, torch.arange(len(x))))
        return threat.succeeds(network(name), x, points, batch.success, batch.draws.fork("fresh")) & inside
    return (network(name)(threat.apply(x, points)).argmax(dim=1) != y) & inside


def test_every_kind_of_threat_is_searched_here() -> None:
    assert THREATS.keys() == threat_kinds().keys()


@kinds
def test_every_claim_of_a_search_is_a_point_of_the_threat_and_adversarial(kind: str) -> None:
    count, threat = how_many(kind, FEW), THREATS[kind]
    (x, y), found = images(count), official(kind, count)
    fell = found.broken_by >= 0
    assert bool(threat.contains(x[fell], found.points[fell], slack=0).all())
    if not isinstance(threat, Physical):  # whose claims are a matter of chance until they are verified
        assert bool(broken("mnist-pgd", threat, x[fell], y[fell], found.points[fell]).all())
    assert sum(record.broken for record in found.records) == int(fell.sum()), "the report says which part found what"


@sizes
@pytest.mark.parametrize("kind", [SEARCHES["l0"], SEARCHES["l1"]])
def test_a_loop_that_sets_one_pixel_at_a_time_finds_at_most_one_more_of_20(kind: str, count: int) -> None:
    fell = greedy_pixels(network(), *standing(kind, count), pixels=int(THREATS[kind].epsilon))
    assert few(fell, count)


@sizes
@pytest.mark.xdist_group("search patch")
def test_a_patch_at_every_place_finds_at_most_one_more_of_20(count: int) -> None:
    assert few(every_place(network(), *standing("patch", count), side=4, steps=15), count)


@sizes
@pytest.mark.xdist_group("search rotation-translation")
def test_a_fine_grid_of_rotations_finds_at_most_one_more_of_20(count: int) -> None:
    x, y = standing("rotation-translation", count)
    assert few(full_grid(network(), x, y, degrees=15.0, pixels=1.0, fine=41), count)


@sizes
@kinds
@pytest.mark.parametrize("name", NETWORKS)
def test_no_attack_that_we_ship_beats_the_verdict_by_more_than_one_of_20(name: str, kind: str, count: int) -> None:
    threat, beaten = THREATS[kind], {}
    x, y = standing(kind, how_many(kind, count), name)
    for entry in entries():
        if len(x) and entry.name not in NOT_ALONE and {"*", kind} & set(entry.threats):
            points = sized(entry, count)(network(name), x, y, threat, seed=2)
            fell = broken(name, threat, x, y, points)
            if not few(fell, count):
                beaten[entry.name] = int(fell.sum())
    assert not beaten, f"of {len(x)} that stand, these break so many: let them join the ensemble"


def sized(entry: Entry, count: int) -> Attack:
    """The attack as it is, or with small options for the small matrix."""
    small = {name: value for name, value in SMALL.items() if isinstance(entry.options.get(name), int)}
    return create(entry.name, **(small if count < 20 else {}))


class Steps(nn.Module):
    """The network behind an input rounded to four levels: no gradient leads anywhere."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = network()((x * 3).round() / 3)
        return logits


def test_where_no_gradient_leads_anywhere_the_canary_sings_and_the_full_search_follows() -> None:
    ensemble, full = standard(L0(10)), Stage("full", create("local_search", queries=200))
    assert isinstance(ensemble, Guarded)
    small = dataclasses.replace(
        ensemble, climbs=ensemble.climbs[:1], canary=Stage("canary", create("sparse_rs", queries=300)), full=(full,), audit=0.0
    )
    x, y = images(8)
    climbed, canary, searched = run(small, Steps(), L0(10), x, y).records
    assert (climbed.broken, climbed.tried) == (0, len(x))
    assert canary.broken > 0
    assert searched.tried == len(x) - canary.broken, "it came near to everybody"


def test_who_falls_to_a_guarded_search_does_not_depend_on_the_neighbors() -> None:
    x, y = (part[:4] for part in images(8))
    threat = THREATS["sum"]
    ensemble = standard(threat)
    assert isinstance(ensemble, Guarded)
    ensemble = dataclasses.replace(
        ensemble,
        climbs=ensemble.climbs[:1],
        canary=Stage("canary", create("random_search", queries=60)),
        full=ensemble.climbs[2:3],
    )
    batch = Batch(x, y, Draws(1, torch.arange(4)))
    whole = ensemble.run(MeteredModel(network(), Meter(), classes=10), batch, threat, lambda step: None)
    for rows in torch.arange(4).split(2):
        part = ensemble.run(MeteredModel(network(), Meter(), classes=10), batch[rows], threat, lambda step: None)
        assert torch.equal(part.broken_by, whole.broken_by[rows])
