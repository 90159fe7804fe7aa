"""The adaptive attack costs no more than the search, and keeps what it found when it is cut short."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from evaluator.adaptive.automatic import Automatic
from evaluator.attacks import PGD
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.gradients import glance
from evaluator.checks import Honest
from evaluator.checks.honest import ADAPTIVE, CHECKS, LEAST_ROWS
from evaluator.data.tensors import Examples
from evaluator.draws import Draws
from evaluator.ensembles import Sequence, Stage
from evaluator.judging.defense import Defense
from evaluator.judging.evaluation import evaluate
from evaluator.models.meter import BudgetExhausted, Meter, MeteredModel
from evaluator.models.reading import Votes
from evaluator.records.cost import cost
from evaluator.threats import Linf, Threat

COUNT = 12
THREAT = Linf(0.1)


class Masked(nn.Module):
    """Its rounding stops every gradient."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 4)).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net((2 * x).round() / 2)
        return logits


class Noisy(Masked):
    """Declared random."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x + 0.3 * torch.randn_like(x))
        return logits


def examples(model: nn.Module) -> Examples:
    x = torch.rand(COUNT, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    return Examples(torch.arange(COUNT), x, model(x).argmax(dim=1), 4)


@pytest.mark.parametrize(("model", "votes"), [(Masked(), None), (Noisy(), Votes(4))])
def test_the_adaptive_attack_costs_at_most_what_the_search_did_or_a_fixed_number_of_rows(
    model: nn.Module, votes: Votes | None
) -> None:
    torch.manual_seed(0)
    quick = Sequence("quick", (Stage("PGD", PGD(steps=3, loss="margin")),))
    part = examples(Masked())
    defense = Defense.of(model) if votes is None else Defense.of(model, votes)
    records = {record.name: record for record in evaluate(defense, part, THREAT, Honest(quick), seed=0).attacks}
    spent, searched = (cost(records[name].forward_rows, records[name].backward_rows) for name in (ADAPTIVE, "PGD"))
    standing = records[ADAPTIVE].tried
    assert standing > 0
    assert records[CHECKS].tried > 0
    slack = 40 * standing * (1 if votes is None else votes.passes)  # each way's result is scored outside its share
    assert spent <= max(searched, LEAST_ROWS * standing) + slack


def test_a_way_that_is_cut_short_keeps_what_it_saw_break() -> None:
    @dataclass(frozen=True)
    class Endless(Attack):
        """Looks at one point that breaks every example, and never returns."""

        def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
            glance(model, batch, threat, far)
            while True:
                glance(model, batch, threat, batch.x)

    model, part = Masked(), examples(Masked())
    signs = torch.randn(200, COUNT, 1, 6, 6, generator=torch.Generator().manual_seed(1)).sign()
    wild = (part.x + 0.1 * signs).clamp(0, 1)
    fell = torch.stack([model(points).argmax(dim=1) != part.y for points in wild])
    far = torch.stack([wild[int(column.int().argmax()), row] for row, column in enumerate(fell.T)])
    meter = Meter()
    batch = Batch(part.x, part.y, Draws(0, part.ids))
    found = Automatic()._found(Endless(), MeteredModel(model, meter, classes=4), batch, THREAT, meter, 3000)
    assert int((model(found).argmax(dim=1) != part.y).sum()) == int(fell.any(dim=0).sum()) > 0
    assert meter.cost <= 1000
    assert meter.budget is None


def test_a_limit_within_a_limit_holds_for_as_long_as_it_is_asked() -> None:
    meter = Meter(budget=100)
    with meter.at_most(10):
        meter.charge(forward=10)
        with pytest.raises(BudgetExhausted):
            meter.charge(forward=1)
        with meter.at_most(1000), pytest.raises(BudgetExhausted):
            meter.charge(forward=1)
    meter.charge(forward=90)
    assert meter.cost == 100
    with meter.at_most(1000), pytest.raises(BudgetExhausted):
        meter.charge(forward=1)
