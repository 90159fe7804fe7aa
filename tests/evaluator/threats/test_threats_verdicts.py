"""Verdicts under threats that are not one ball: unions member by member, corruptions point by point, views in expectation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.data.tensors import Examples
from evaluator.ensembles import Ensemble, Sequence, Stage, standard
from evaluator.judging.closest_points import STAGE
from evaluator.judging.defense import Defense
from evaluator.judging.evaluation import COMPANY, Verdict, evaluate
from evaluator.judging.verification import verify
from evaluator.models.reading import Votes
from evaluator.threats import L0, L2, Linf, Threat
from evaluator.threats.corruptions import Corruptions
from evaluator.threats.physical import Physical, Views
from evaluator.threats.union import Union

SIDE = 8


class Measured(nn.Module):
    """Class 1 where `score` (n,) of an image is positive, else class 0."""

    def __init__(self, score: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.score = score

    def forward(self, x: Tensor) -> Tensor:
        score = self.score(x)
        return torch.stack([-score, score], dim=1)


def gray(count: int, value: float = 0.5) -> Examples:
    """Flat images with a little noise of their own; all of class 0."""
    noise = torch.rand(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    return Examples(torch.arange(count), value + 0.02 * (noise - 0.5), torch.zeros(count, dtype=torch.int64), 2)


def judged(model: nn.Module, part: Examples, threat: Threat, ensemble: Ensemble | None = None, seed: int = 3) -> Verdict:
    return evaluate(Defense.of(model), part, threat, ensemble or standard(threat), seed=seed)


def mean_above(limit: float) -> nn.Module:
    """Falls to a small change of every pixel."""
    return Measured(lambda x: x.flatten(1).mean(dim=1) - limit)


def first_pixel_above(limit: float) -> nn.Module:
    """Falls to a large change of one pixel."""
    return Measured(lambda x: x[:, 0, 0, 0] - limit)


UNION = Union((Linf(0.05), L2(0.3), L0(2)))


@pytest.mark.parametrize(
    ("model", "label"),
    [(mean_above(0.54), "linf 0.05"), (first_pixel_above(0.75), "l2 0.3"), (first_pixel_above(0.95), "l0 2")],
    ids=["only-linf", "only-l2", "only-l0"],
)
def test_a_model_that_falls_to_one_member_of_a_union_falls(model: nn.Module, label: str) -> None:
    part = gray(4)
    verdict = judged(model, part, UNION)
    assert not bool(verdict.robust.any())
    assert {verdict.attacks[number].name.partition(":")[0] for number in verdict.broken_by.tolist()} == {label}
    assert bool(UNION.contains(part.x, verdict.points, slack=0).all())


def test_the_members_records_are_the_same_list_whoever_falls() -> None:
    names = [[record.name for record in judged(model, gray(4), UNION).attacks] for model in (mean_above(0.54), mean_above(0.9))]
    assert names[0] == names[1]
    assert {name.partition(":")[0] for name in names[0]} == {"linf 0.05", "l2 0.3", "l0 2", STAGE, COMPANY}


def test_a_model_that_no_member_breaks_stands() -> None:
    verdict = judged(mean_above(0.7), gray(4), UNION)
    assert bool(verdict.robust.all())
    assert verdict.attacks[-1].survivors == 4


def test_shards_of_a_union_say_what_the_whole_says() -> None:
    part, model = gray(6), Measured(lambda x: x.flatten(1).amax(dim=1) - 0.557)
    whole = judged(model, part, UNION)
    halves = [judged(model, part[rows], UNION) for rows in (slice(0, 2), slice(2, 6))]
    assert torch.equal(whole.broken_by, torch.cat([half.broken_by for half in halves]))


def edges() -> nn.Module:
    """Class 0 where neighbours differ: blurring takes the differences away."""
    return Measured(lambda x: 0.15 - (x[..., 1:] - x[..., :-1]).abs().flatten(1).mean(dim=1))


def striped(count: int) -> Examples:
    x = torch.zeros(count, 1, SIDE, SIDE)
    x[..., ::2] = 0.3
    return Examples(torch.arange(count), x, torch.zeros(count, dtype=torch.int64), 2)


def test_a_corruption_that_breaks_is_found_and_named() -> None:
    threat = Corruptions(5, ("brightness", "defocus-blur", "snow"))
    verdict = judged(edges(), striped(3), threat)
    assert [record.name for record in verdict.attacks] == ["brightness", "defocus-blur", "snow", STAGE, COMPANY]
    assert verdict.broken_by.tolist() == [1, 1, 1]
    assert verdict.points[:, 0].tolist() == [2, 2, 2]
    assert not bool(verdict.robust.any())


def test_the_last_realization_of_the_last_corruption_is_tried_too() -> None:
    part, threat = gray(2), Corruptions(3, ("brightness", "gaussian-noise"), realizations=4)
    last = threat.apply(part.x, torch.tensor([[2.0, 3.0, 3.0]] * 2))

    def is_last(x: Tensor) -> Tensor:
        return 0.5 - (x[:, None] - last[None]).flatten(2).abs().amax(dim=2).amin(dim=1).ceil()

    verdict = judged(Measured(is_last), part, threat)
    assert not bool(verdict.robust.any())
    assert verdict.points.tolist() == [[2.0, 3.0, 3.0]] * 2


def test_who_stands_after_corruptions_was_asked_about_each_once() -> None:
    verdict = judged(mean_above(2.0), gray(3), Corruptions(2, ("brightness", "fog"), realizations=3))
    assert bool(verdict.robust.all())
    spent = [record.forward_rows for record in verdict.attacks if record.name not in (STAGE, COMPANY)]
    assert spent == [3 * 3] * 2


STILL = Views(0, 0, 0, 0, 0, 0, 0, 0)
TURNING = Views(rotation=0, translation=3, scale=0, shear=0, perspective=0, brightness=0, contrast=0, blur=0, border="zeros")


@dataclass(frozen=True)
class OnePixel(Attack):
    """Whitens the first pixel: it fools `first_pixel_above` only where nothing moves."""

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        points = batch.x.clone()
        points[:, 0, 0, 0] += threat.epsilon
        return threat.project(batch.x, points)


@pytest.mark.parametrize(("views", "falls"), [(STILL, True), (TURNING, False)], ids=["still", "moving"])
def test_a_physical_attack_that_succeeds_only_without_transformations_does_not_count(views: Views, falls: bool) -> None:
    threat, part = Physical(Linf(0.3), views, samples=24), gray(5)
    model = first_pixel_above(0.75)
    points = OnePixel().run(model, Batch(part.x, part.y, None), threat)  # type: ignore[arg-type]
    assert bool((model(threat.apply(part.x, points)).argmax(dim=1) != part.y).all()), "it does fool the model as it stands"
    checked = verify(model, part, threat, points, torch.ones(5, dtype=torch.bool), seed=1)
    assert checked.broken.tolist() == [falls] * 5
    verdict = judged(model, part, threat, Sequence("one", (Stage("one pixel", OnePixel()),)))
    assert (verdict.correct & ~verdict.robust).tolist() == [falls] * 5
    assert not verdict.flags, "a claim that other views refute says nothing against the model"


def test_the_search_finds_what_holds_on_most_views() -> None:
    threat, part = Physical(Linf(0.3), Views(), samples=24), gray(4)
    verdict = judged(mean_above(0.6), part, threat)
    assert not bool(verdict.robust.any())
    assert bool(threat.contains(part.x, verdict.points, slack=0).all())


def test_the_search_leaves_standing_what_falls_on_too_few_views() -> None:
    threat, part = Physical(Linf(0.3), TURNING, samples=24), gray(4)
    assert bool(judged(first_pixel_above(0.82), part, threat).robust.all())


def test_claims_are_judged_on_views_of_the_scorers_own() -> None:
    part, threat = gray(1), Physical(Linf(0.1), Views(border="zeros"), samples=6)
    seen: list[Tensor] = []

    class Watched(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.clone())
            return torch.stack([torch.ones(len(x)), torch.zeros(len(x))], dim=1)

    for seed in (1, 1, 2):
        verify(Watched(), part, threat, part.x, torch.ones(1, dtype=torch.bool), seed=seed)
    assert [len(batch) for batch in seen] == [7, 7, 7]
    assert torch.equal(seen[0], seen[1])
    shown = [sorted(batch.flatten(1).sum(dim=1).tolist()) for batch in seen]
    assert shown[0] != shown[2]


def test_a_random_defense_is_judged_on_views_by_votes() -> None:
    part, threat = gray(3), Physical(Linf(0.3), TURNING, samples=5)
    points = threat.project(part.x, part.x + 1)
    for limit, falls in ((0.4, True), (0.9, False)):
        checked = verify(mean_above(limit), part, threat, points, torch.ones(3, dtype=torch.bool), 1, Votes(3))
        assert checked.broken.tolist() == [falls] * 3


def test_nobody_claimed_is_nobody_asked_about() -> None:
    part, threat = gray(3), Physical(Linf(0.3), samples=5)
    checked = verify(mean_above(0.7), part, threat, part.x, torch.zeros(3, dtype=torch.bool), 1)
    assert checked.correct.tolist() == [True] * 3
    assert not bool(checked.broken.any())
