"""A black-box search asks no gradient, stays within its queries, and counts them for each image."""

from __future__ import annotations

import pytest
import torch
from support import mnist_test, shipped
from torch import Tensor

from evaluator.attacks.base import Batch
from evaluator.data.tensors import Examples
from evaluator.draws import Draws
from evaluator.ensembles.base import Step
from evaluator.ensembles.black_box import BlackBox, attackers
from evaluator.errors import InputError
from evaluator.judging import Defense, evaluate
from evaluator.judging.goals import UNTARGETED
from evaluator.manifests.spec import Challenge, parse_toml
from evaluator.models.asked import Asked
from evaluator.models.meter import Meter, MeteredModel
from evaluator.threats import L2, Linf
from evaluator.threats.base import Threat

QUERIES = 40


class Watched:
    """The standard baseline, which remembers how often it was asked, and about what."""

    def __init__(self) -> None:
        self.network, self.asked = shipped("mnist-standard"), list[Tensor]()

    def __call__(self, x: Tensor) -> Tensor:
        assert not x.requires_grad
        self.asked.append(x)
        answer: Tensor = self.network(x)
        return answer


def batch(count: int) -> Batch:
    x, y = mnist_test(count)
    return Batch(x, y, Draws(3, torch.arange(count)))


def ignore(step: Step) -> None:
    """Nobody watches."""


@pytest.mark.parametrize(
    ("level", "inside", "threat"),
    [("scores", True, Linf(0.2)), ("scores", False, Linf(0.2)), ("scores", True, L2(8.0)), ("labels", False, L2(8.0))],
    ids=str,
)
def test_a_black_box_search_stays_within_its_queries_and_counts_them(level: str, inside: bool, threat: Threat) -> None:
    part, defense = batch(3), Watched()
    ensemble = BlackBox(level, QUERIES, inside)  # type: ignore[arg-type]
    meter = Meter()
    found = ensemble.run(MeteredModel(defense, meter, classes=10), part, threat, ignore)
    assert meter.backward_rows == 0
    assert found.queries is not None
    fell = found.broken_by >= 0
    assert int(fell.sum()) > 0
    assert bool(((found.queries > 0) == fell).all())
    assert int(found.queries.max()) <= QUERIES
    for record in found.records:
        assert record.forward_rows <= record.tried * (QUERIES + 1), "one look of the judge beside the attack's own"
    if inside:
        rows = torch.cat(defense.asked)
        holds = torch.stack([threat.contains(x.expand_as(rows), rows) for x in part.x])
        assert bool(holds.any(dim=0).all())


def test_an_account_counts_rows_in_order_and_the_first_success_inside_alone() -> None:
    x = torch.full((2, 1, 1, 2), 0.5)
    account = Asked(x, Linf(0.1))
    near, far = torch.full((1, 1, 2), 0.55), torch.full((1, 1, 2), 0.8)
    points = torch.stack([far, near, near, near])
    account.count(torch.tensor([0, 1, 0, 0]), points, torch.tensor([True, False, True, True]))
    assert account.rows.tolist() == [3, 1]
    assert account.first.tolist() == [2, 0], "a success outside the threat is none"
    account.count(torch.tensor([1]), points[1:2], torch.tensor([True]))
    assert account.first.tolist() == [2, 2]


def test_each_level_has_attacks_that_need_no_more_than_it_gives() -> None:
    from evaluator.attacks import entries

    access = {entry.factory: entry.access for entry in entries()}
    for inside in (True, False):
        assert {access[type(each.attack)] for each in attackers("scores", 9, inside=inside)} <= {"scores", "labels"}
        assert {access[type(each.attack)] for each in attackers("labels", 9, inside=inside)} <= {"labels"}


def test_a_defense_is_judged_by_what_a_black_box_attacker_finds() -> None:
    x, y = mnist_test(3)
    part = Examples(torch.arange(3), x, y, 10)
    verdict = evaluate(Defense.of(shipped("mnist-standard")), part, Linf(0.2), BlackBox("scores", 60, True), seed=0)
    assert verdict.queries is not None
    assert bool(((verdict.queries > 0) == (verdict.unbroken & ~verdict.robust)).all())
    assert verdict.backward_rows == 0


def pack(access: str, threat: str = "linf", goal: str = "") -> Challenge:
    text = (
        f'title = "Black box"\n[data]\ndataset = "mnist"\nexamples = 3\n[threat]\nkind = "{threat}"\nepsilon = 1\n'
        f'[access]\n{access}\n[evaluation]\nensemble = "black-box"\n{goal}'
    )
    return parse_toml(text.encode(), Challenge, where="challenge.toml")


@pytest.mark.parametrize(
    ("access", "threat", "goal", "said"),
    [
        ("", "linf", "", 'access.level: "black-box" needs level "scores" or "labels"'),
        ('level = "labels"\noutside = "refused"', "linf", "", "access.outside"),
        ('level = "labels"', "l0", "", "threat.kind"),
        ('level = "labels"', "linf", '[goal]\nkind = "targeted"\ntarget = "random"\n', "goal.kind"),
    ],
)
def test_a_black_box_board_that_nobody_could_attack_is_refused(access: str, threat: str, goal: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        pack(access, threat, goal)
    assert said in str(caught.value)


def test_a_pack_says_how_many_queries_and_where() -> None:
    challenge = pack('level = "scores"\nrows_per_example = 2000\nsharing = "separate"\noutside = "refused"')
    assert UNTARGETED.search(challenge, Linf(1)) == BlackBox("scores", 2000, inside=True)
