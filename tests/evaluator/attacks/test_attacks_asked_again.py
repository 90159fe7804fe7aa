"""What a minimal-norm attack returns is adversarial when it is asked again, in whatever batch; one table over all of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from evaluator.attacks.base import Batch
from evaluator.attacks.minimal_norm import AGAIN, MinimalNorm, confirmed
from evaluator.attacks.registry import Entry, create, entries
from evaluator.draws import Draws
from evaluator.models.meter import Meter, MeteredModel
from evaluator.threats import L2, Threat
from tests.evaluator.attack_support import SMALL, THREATS, RowWise, images
from tests.evaluator.blackbox import Counted

QUERIES = 400


class Unsteady(nn.Module):
    """Linear; an even number of rows moves its boundaries by a hair, as float32 sums of another batch do, but always so."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = RowWise(108, 3)
        with torch.no_grad():
            self.linear.weight.copy_(torch.randn(3, 108, generator=torch.Generator().manual_seed(0)))
            self.linear.bias.copy_(-self.linear(torch.full((1, 108), 0.5))[0])
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x.flatten(1))
        hair = 1e-4 if len(x) % 2 else -1e-4
        return logits * (1 + hair * torch.tensor([1.0, 0.0, -1.0])) + hair


def minimal() -> list[tuple[Entry, str]]:
    return [(entry, kind) for entry in entries() if entry.minimal_norm for kind in entry.threats]


@pytest.mark.parametrize(("entry", "kind"), minimal(), ids=lambda value: getattr(value, "name", value))
def test_what_it_returns_is_adversarial_in_one_batch_and_alone(entry: Entry, kind: str) -> None:
    options = {name: value for name, value in SMALL.items() if name in entry.options}
    more = {"queries": QUERIES, "samples": 20, "coordinates": 16} if "queries" in entry.options else {}
    more |= {"steps": 24} if kind == "l0" and "steps" in options else {}
    attack = create(entry.name, **{**options, **{key: value for key, value in more.items() if key in entry.options}})
    model, x = Unsteady(), images(12)
    y = model(x).argmax(dim=1)
    points = attack(model, x, y, THREATS[kind])
    moved = (points != x).flatten(1).any(dim=1)
    assert int(moved.sum()) >= 6
    found = points[moved]
    assert bool((model(found).argmax(dim=1) != y[moved]).all())
    assert bool((torch.cat([model(row[None]) for row in found]).argmax(dim=1) != y[moved]).all())
    assert bool(((found >= 0) & (found <= 1)).all())


def test_every_minimal_norm_attack_asks_again_by_the_same_mechanism() -> None:
    for entry in entries():
        assert entry.minimal_norm == issubclass(entry.factory, MinimalNorm)
        assert not entry.minimal_norm or "run" not in vars(entry.factory)


class Step(nn.Module):
    """Class 1 where the first number exceeds 0.7, else class 0."""

    def forward(self, x: Tensor) -> Tensor:
        over = (x.flatten(1)[:, 0] > 0.7).float()
        return torch.stack([1 - over, over], dim=1)


def asked(first: list[float], threat: Threat, *, rows: int = AGAIN) -> tuple[Tensor, Meter]:
    """What is left of points whose first number is as given, around images of 0.5."""
    meter, count = Meter(), len(first)
    x = torch.full((count, 1, 2, 2), 0.5)
    points = x.clone()
    points[:, 0, 0, 0] = torch.tensor(first)
    batch = Batch(x, torch.zeros(count, dtype=torch.int64), Draws(0, torch.arange(count)))
    left = confirmed(MeteredModel(Step(), meter, classes=2), batch, threat, points, rows=rows)
    return left[:, 0, 0, 0], meter


def test_a_point_that_falls_back_moves_outwards_until_it_is_adversarial_and_one_that_never_is_is_given_up() -> None:
    left, meter = asked([0.8, 0.7, 0.6, 0.5], L2(10.0))
    assert float(left[0]) == pytest.approx(0.8)
    assert 0.7 < float(left[1]) < 0.7001
    assert left[2:].tolist() == [0.5, 0.5]
    # three points were moved: 3 are asked together each time, and those that are adversarial once more alone
    assert (meter.forward_rows, meter.backward_rows) == (3 * 4 + 1 + 3 * 2, 0)


def test_a_point_within_the_budget_does_not_leave_it_when_it_moves_outwards() -> None:
    left, _ = asked([0.7, 0.8], L2(0.2))
    assert left.tolist() == [pytest.approx(0.5), pytest.approx(0.8)]


def test_nothing_is_returned_that_there_were_no_rows_to_ask_about() -> None:
    left, meter = asked([0.8, 0.9], L2(1.0), rows=1)
    assert left.tolist() == [0.5, 0.5]
    assert meter.cost == 0


@pytest.mark.parametrize("queries", [1, 2, AGAIN, AGAIN + 1, 60])
@pytest.mark.parametrize("entry", [entry for entry in entries() if entry.minimal_norm and "queries" in entry.options], ids=str)
def test_asking_again_is_paid_from_the_queries_of_the_attack(entry: Entry, queries: int) -> None:
    inner = Unsteady()
    model, x = Counted(inner), images(3)
    create(entry.name, queries=queries)(model, x, inner(x).argmax(dim=1), THREATS[entry.threats[0]])
    assert model.rows <= 3 * queries
