"""Goals: which class each image's adversary wants, and what counts as a success."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support import mnist_test, shipped
from torch import Tensor, nn

from evaluator.attacks import PGD
from evaluator.attacks.apgd import APGD
from evaluator.attacks.base import Batch
from evaluator.checks import Honest
from evaluator.data.tensors import Examples
from evaluator.draws import Draws
from evaluator.ensembles import SHORT, Sequence, Stage
from evaluator.errors import InputError
from evaluator.judging import Defense, Verdict, evaluate, verify
from evaluator.judging.evaluation import COMPANY
from evaluator.judging.goals import UNTARGETED, Each, Goal, build_goal
from evaluator.manifests.data_specs import DataSpec
from evaluator.manifests.goal_specs import TargetedSpec, UntargetedSpec
from evaluator.manifests.spec import Challenge, parse_toml
from evaluator.models.access import scores
from evaluator.models.reading import Votes
from evaluator.threats import Linf
from evaluator.wanted import Wanted

DATA = DataSpec(dataset="mnist", examples=12)
PACK = 'title = "Goals"\n[data]\ndataset = "mnist"\nexamples = 3\n{columns}[threat]\nkind = "linf"\nepsilon = 0.1\n{goal}'


def images(count: int = 12) -> Examples:
    x, y = mnist_test(count)
    return Examples(torch.arange(count), x, y, 10)


def goal(target: int | str, data: DataSpec = DATA) -> Goal:
    return build_goal(TargetedSpec(kind="targeted", target=target), data)


def nobody(x: Tensor) -> Tensor:
    raise AssertionError("this goal needs no answers")


def read(goal: str, *, columns: str = "") -> Challenge:
    text = PACK.format(columns=columns, goal=goal)
    return parse_toml(text.encode(), Challenge, where="challenge.toml")


def test_a_drawn_target_is_another_class_and_depends_on_the_image_alone() -> None:
    part = images(200)
    drawn = goal("random").aimed(part, nobody).target
    assert drawn is not None
    assert not bool((drawn == part.y).any())
    assert len(drawn.unique()) == 10
    assert torch.equal(goal("random").aimed(part[7:50], nobody).target, drawn[7:50])


def test_a_target_that_is_the_images_own_label_is_drawn_again() -> None:
    part = images(200)
    found = goal(7, DataSpec(dataset="mnist", examples=200)).aimed(part, nobody).target
    assert found is not None
    own = part.y == 7
    assert bool(own.any())
    assert bool((found[~own] == 7).all())
    assert not bool((found[own] == 7).any())
    assert torch.equal(goal("7", DataSpec(dataset="mnist", examples=200)).aimed(part, nobody).target, found)


def test_a_column_of_the_data_names_a_target_for_each_image() -> None:
    challenge = read('[goal]\nkind = "targeted"\ntarget = "wanted"\n', columns="columns = {wanted = [3, 2, 9]}\n")
    part = images(3)
    assert part.y.tolist() == [7, 2, 1]
    found = build_goal(challenge.goal, challenge.data).aimed(part[1:], nobody).target
    assert found is not None
    assert found[1] == 9
    assert found[0] != 2
    assert challenge.data.first(2).columns == {"wanted": (3, 2)}


def test_the_least_likely_class_is_that_of_the_clean_answer_and_never_the_label() -> None:
    part = images(3)
    logits = torch.eye(10)[torch.tensor([4, 5, 6])] * -1.0
    logits[2] = torch.arange(10.0)
    part = dataclasses.replace(part, y=torch.tensor([4, 1, 0]))
    found = goal("least-likely").aimed(part, lambda x: logits[: len(x)]).target
    assert found is not None
    assert found.tolist() == [0, 5, 1]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('target = "cat"', 'goal.target: must be "random", "least-likely", "each", a class from 0 to 9'),
        ("target = 10", "a column of the data"),
        ("", "goal.target: is required"),
        ('target = "each"\nseed = 3', "seed"),
    ],
)
def test_an_impossible_target_is_named_with_what_there_is(table: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read(f'[goal]\nkind = "targeted"\n{table}\n')
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "said"),
    [("{goal = [1, 2]}", "one class for each of the 3"), ("{goal = [1, 2, 11]}", "class 11"), ("{7 = [1, 2, 3]}", "columns")],
)
def test_an_impossible_column_is_named(columns: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read("", columns=f"columns = {columns}\n")
    assert said in str(caught.value)


def test_a_pack_without_a_goal_wants_any_wrong_class() -> None:
    assert read("").goal == UntargetedSpec()
    assert build_goal(read("").goal, DATA) is UNTARGETED


def judged(part: Examples, goal: Goal) -> Verdict:
    climbs = Sequence("climbs", (Stage("APGD", APGD(steps=20, loss="margin")),))
    return evaluate(Defense.of(Lines(0.0)), part, Linf(0.1), climbs, seed=3, goal=goal)


class Lines(nn.Module):
    """Three classes of a point in [0, 1]^2: x_0, x_1 and a constant."""

    def __init__(self, third: float) -> None:
        super().__init__()
        self.third = third

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return torch.cat([flat[:, :2], torch.full_like(flat[:, :1], self.third)], dim=1)


def points(*rows: tuple[float, float]) -> Tensor:
    return torch.tensor(rows).reshape(-1, 1, 1, 2)


@dataclasses.dataclass(frozen=True)
class Fixed(Goal):
    """These targets."""

    target: Tensor
    targeted = True

    def aimed(self, examples: Examples, model: object) -> Examples:
        return dataclasses.replace(examples, target=self.target[examples.ids])


def test_only_the_target_breaks_an_image_and_a_misclassified_one_is_not_broken_by_that() -> None:
    x = points((0.5, 0.4), (0.5, 0.4), (0.5, 0.1), (0.1, 0.9), (0.1, 0.9))
    y = torch.tensor([0, 0, 0, 0, 0])
    target = torch.tensor([1, 2, 1, 1, 2])
    part = Examples(torch.arange(5), x, y, 3)
    verdict = judged(part, Fixed(target))
    # Near class 1; class 2 is out of reach; class 1 is too far; misclassified as the target; misclassified as another class.
    assert verdict.robust.tolist() == [False, True, True, False, True]
    assert verdict.unbroken.tolist() == [True, True, True, False, True]
    assert verdict.correct.tolist() == [True, True, True, False, False]
    assert verdict.target is not None
    assert verdict.target.tolist() == target.tolist()
    untargeted = judged(part, UNTARGETED)
    assert untargeted.robust.tolist() == [False, False, True, False, False]


def test_a_claim_that_reaches_another_wrong_class_is_no_success() -> None:
    x = points((0.5, 0.45), (0.5, 0.45))
    part = Examples(torch.arange(2), x, torch.tensor([0, 0]), 3, target=torch.tensor([1, 2]))
    moved = points((0.42, 0.52), (0.42, 0.52))
    checked = verify(Lines(0.0), part, Linf(0.1), moved, torch.ones(2, dtype=torch.bool), seed=0)
    assert checked.broken.tolist() == [True, False]
    assert checked.standing.tolist() == [True, True]


def test_every_class_in_turn_breaks_what_any_of_them_breaks_and_the_attack_is_told_each() -> None:
    part = images(4)
    turns = [turn.target for turn in Each().turns(part)]
    assert len(turns) == 9
    told = torch.stack([target for target in turns if target is not None])
    assert sorted(told[:, 0].tolist()) == [each for each in range(10) if each != int(part.y[0])]
    model = shipped("mnist-standard")
    quick = Sequence("quick", (Stage("PGD", PGD(steps=10, loss="margin")),))
    threat = Linf(0.08)
    each = evaluate(Defense.of(model), part, threat, Each().pursued(quick), seed=0, goal=Each())
    singles = torch.zeros(len(part), dtype=torch.bool)
    for target in turns:
        assert target is not None
        one = evaluate(Defense.of(model), part, threat, quick, seed=0, goal=Fixed(target))
        singles |= ~one.robust
    assert int(singles.sum()) > 0
    assert bool((~each.robust | ~singles).all())
    assert {record.name for record in each.attacks} == {"to each class: PGD", "closest points, on a fresh copy", COMPANY}


def test_the_official_search_reaches_targets_on_a_shipped_baseline() -> None:
    part = images(3)
    chosen = goal("random", DataSpec(dataset="mnist", examples=3))
    model = shipped("mnist-standard")
    threat = Linf(0.3)
    verdict = evaluate(Defense.of(model), part, threat, chosen.search(read(""), threat), seed=3, goal=chosen)
    assert verdict.robust.tolist() == [False] * 3
    assert verdict.target is not None
    logits = scores(model, verdict.points)
    assert torch.equal(logits.argmax(dim=1), verdict.target)


def test_the_honesty_checks_of_a_targeted_board_pass_an_honest_network() -> None:
    part = images(2)
    chosen = goal("random")
    verdict = evaluate(Defense.of(shipped("mnist-pgd")), part, Linf(0.3), Honest(SHORT), seed=0, goal=chosen)
    assert [flag for flag in verdict.flags if flag.severity == "unverified"] == []
    assert "checks-beat-search" not in {flag.check for flag in verdict.flags}


def test_votes_test_whether_the_target_won_beyond_chance() -> None:
    counts = torch.tensor([[23, 41], [22, 42], [32, 32]])
    wanted = Wanted(torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1]))
    # P(Binomial(64, 1/2) >= 41) = 0.0164, P(>= 42) = 0.0084
    assert Votes(1).broken(counts, wanted).tolist() == [False, True, False]
    elsewhere = Wanted(torch.tensor([0]), torch.tensor([2]))
    assert Votes(1).broken(torch.tensor([[2, 60, 2]]), elsewhere).tolist() == [False]
    assert Votes(8).broken(torch.tensor([[10, 14, 40]]), elsewhere).tolist() == [True]


def test_a_random_defense_is_broken_only_where_votes_name_the_target() -> None:
    generator = torch.Generator().manual_seed(0)

    def undecided(x: Tensor) -> Tensor:
        lead = torch.tensor([0.0, 1.0, -9.0]) if float(torch.rand((), generator=generator)) < 0.9 else torch.zeros(3)
        return lead.expand(len(x), 3)

    part = Examples(torch.arange(2), points((0.2, 0.2), (0.2, 0.2)), torch.tensor([0, 0]), 3, target=torch.tensor([1, 2]))
    said = Votes(1).read(undecided, part.x, part.wanted, 3)
    assert said.broken.tolist() == [True, False]
    assert said.standing.tolist() == [False, True]


def test_a_batch_asks_the_same_question_as_verification() -> None:
    labels = torch.tensor([0, 1, 2])
    logits = torch.eye(3)[labels]
    wanted = Wanted(torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1]))
    batch = Batch(points((0, 0), (0, 0), (0, 0)), wanted.y, Draws(0, labels), wanted.target)
    assert batch.success(logits).tolist() == wanted.met(labels).tolist() == [False, True, False]
    assert Wanted(wanted.y).met(torch.tensor([0, 2, -1])).tolist() == [False, True, False]
