"""A submitted attack holds an ordinary model: the same numbers as in process, exact rows, and no more than its access level."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from attack_hosts import Game, examples, hosted_attack, net, write_attack
from torch import Tensor

from evaluator.attacks import PGD
from evaluator.host.attack_proxy import Budget, ProxyModel, QueryRefused
from evaluator.host.attack_session import AttackFault
from evaluator.manifests.spec import AccessSpec
from evaluator.models.meter import BudgetExhausted, Meter, MeteredModel
from evaluator.models.reading import WithDetector
from evaluator.threats import L2, Linf, Threat

HONEST = """
from evaluator.attacks import PGD

def attack(model, x, y, threat, budget):
    return PGD(steps=5, loss="margin")(model, x, y, threat)
"""


def test_an_honest_submission_returns_what_the_same_attack_finds_in_process_and_pays_the_same_rows(tmp_path: Path) -> None:
    game, part, meter = Game(), examples(), Meter()
    with hosted_attack(write_attack(tmp_path, HONEST)) as transport:
        returned = game.session(transport).run()
    metered = MeteredModel(net(), meter, classes=3)
    assert torch.equal(returned, PGD(steps=5, loss="margin")(metered, part.x, part.y, Linf(0.1)))
    assert (game.meter.forward_rows, game.meter.backward_rows) == (meter.forward_rows, meter.backward_rows)
    assert meter.backward_rows > 0


def test_the_attack_is_given_images_labels_threat_and_budget() -> None:
    seen: list[Any] = []

    def attack(model: ProxyModel, x: Tensor, y: Tensor, threat: Threat, budget: Budget) -> Tensor:
        model(x)
        seen.extend([x, y, threat, budget, next(model.parameters()).device.type, model.training, copy.deepcopy(model) is model])
        return threat.project(x, x + 1)

    game = Game(rows=50)
    returned = game.play(attack)
    part = examples()
    assert torch.equal(seen[0], part.x)
    assert torch.equal(seen[1], part.y)
    assert seen[2] == Linf(0.1)
    assert (seen[3].rows, seen[3].left) == (50, 44)
    assert seen[4:] == ["cpu", False, True]
    assert torch.equal(returned, Linf(0.1).project(part.x, part.x + 1))


def test_any_threat_reaches_the_attack() -> None:
    from evaluator.manifests.threat_specs import L2Spec

    seen: list[Threat] = []
    Game(threat=L2Spec(kind="l2", epsilon=2.0)).play(lambda model, x, y, threat, budget: [seen.append(threat), x][1])
    assert seen == [L2(2.0)]


def test_the_same_seed_plays_the_same_random_attack() -> None:
    def attack(model: ProxyModel, x: Tensor, *rest: object) -> Tensor:
        return x + 0.1 * torch.rand_like(x)

    assert torch.equal(Game().play(attack), Game().play(attack))


def test_large_batches_jacobians_and_old_graphs_are_answered_like_the_model_itself() -> None:
    many = torch.rand(1100, 1, 7, 7, generator=torch.Generator().manual_seed(2))

    def gradients(model: Any) -> list[Tensor]:
        leaf = many.clone().requires_grad_(True)
        old = model(leaf)
        jacobian = [torch.autograd.grad(old[:, k].sum(), leaf, retain_graph=True)[0] for k in range(3)]
        for _ in range(4):
            model(many[:600].clone().requires_grad_(True))
        return [old.detach(), *jacobian, torch.autograd.grad(old.exp().sum(), leaf)[0]]

    answers: list[Tensor] = []
    game = Game()
    game.play(lambda model, x, *rest: [answers.extend(gradients(model)), x][1])
    for ours, theirs in zip(answers, gradients(net()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    recomputed = 1100
    assert (game.meter.forward_rows, game.meter.backward_rows) == (1100 + 4 * 600 + recomputed, 4 * 1100)


@pytest.mark.parametrize("level", ["scores", "labels"])
def test_a_lower_access_level_answers_less_and_never_a_gradient(level: str) -> None:
    seen: list[Tensor] = []

    def attack(model: ProxyModel, x: Tensor, *rest: object) -> Tensor:
        seen.append(model(x.clone().requires_grad_(True)))
        return x

    game = Game(access=AccessSpec(level=level))  # type: ignore[arg-type]
    game.play(attack)
    logits = net()(examples().x)
    expected = logits if level == "scores" else torch.nn.functional.one_hot(logits.argmax(1), 3).float()
    assert torch.equal(seen[0], expected)
    assert not seen[0].requires_grad
    assert game.meter.cost == 6


@pytest.mark.parametrize("level", ["gradients", "scores", "labels"])
def test_a_declared_detector_s_refusals_are_seen_at_every_level_that_answers(level: str) -> None:
    seen: list[Tensor] = []
    score = torch.tensor([1.0, -1.0, 0.5, -0.5, 2.0, -2.0])[:, None]

    def attack(model: ProxyModel, x: Tensor, *rest: object) -> Tensor:
        seen.append(model(x))
        return x

    def defense(x: Tensor) -> Tensor:
        return torch.cat([net()(x), score], dim=1)

    Game(access=AccessSpec(level=level), defense=defense, reading=WithDetector()).play(attack)  # type: ignore[arg-type]
    assert torch.equal(WithDetector().refused(seen[0]), score[:, 0] > 0)
    assert torch.equal(seen[0].argmax(dim=1), net()(examples().x).argmax(dim=1))


def test_without_access_every_question_is_refused_and_costs_nothing() -> None:
    def attack(model: ProxyModel, x: Tensor, *rest: object) -> Tensor:
        with pytest.raises(QueryRefused, match="answers no queries"):
            model(x)
        return x

    game = Game(access=AccessSpec(level="none"))
    game.play(attack)
    assert game.meter.cost == 0


def test_rows_are_charged_before_they_are_computed_and_a_gradient_costs_two() -> None:
    asked: list[int] = []

    def defense(x: Tensor) -> Tensor:
        asked.append(len(x))
        return net()(x)  # type: ignore[no-any-return]

    def attack(model: ProxyModel, x: Tensor, y: Tensor, threat: Threat, budget: Budget) -> Tensor:
        leaf = x.clone().requires_grad_(True)
        logits = model(leaf)
        logits.sum().backward()
        assert budget.left == 5
        with pytest.raises(BudgetExhausted):
            model(x)
        model(x[:3])
        assert budget.left == 2
        with pytest.raises(BudgetExhausted):
            model(x[:2].clone().requires_grad_(True)).sum().backward()
        assert budget.left == 0
        return leaf.detach()

    game = Game(rows=3 * 6 + 5, defense=defense)
    game.play(attack)
    assert asked == [6, 3, 2]
    assert (game.meter.forward_rows, game.meter.backward_rows) == (11, 6)


def test_an_attack_that_lets_the_refusal_pass_fails_with_a_word_on_the_budget() -> None:
    def attack(model: ProxyModel, x: Tensor, *rest: object) -> Tensor:
        while True:
            model(x)

    game = Game(rows=20)
    with pytest.raises(AttackFault) as fault:
        game.play(attack)
    assert fault.value.error.reason == "budget"
    assert "the batch costs 6 rows and 2 are left; nothing was charged" in str(fault.value)
    assert game.meter.forward_rows == 18


def test_queries_outside_every_example_s_set_are_refused_where_the_challenge_says_so() -> None:
    def attack(model: ProxyModel, x: Tensor, y: Tensor, threat: Threat, budget: Budget) -> Tensor:
        model(threat.project(x, x + 1))
        model(x.flip(0))
        with pytest.raises(QueryRefused, match="1 of 6 queries are outside the linf set"):
            model(torch.cat([x[:5], (x[5:] + 0.2).clamp(0, 1)]))
        return x

    strict = Game(access=AccessSpec(outside="refused"))
    strict.play(attack)
    assert strict.meter.forward_rows == 12
    free = Game()
    free.play(lambda model, x, *rest: [model((x + 0.2).clamp(0, 1)), x][1])
    assert free.meter.forward_rows == 6


def test_a_query_inside_the_ball_of_an_example_that_is_not_the_nearest_is_inside() -> None:
    part = examples(2)
    near, far = torch.full((1, 1, 7, 7), 0.5), torch.full((1, 1, 7, 7), 0.5)
    near[0, 0, 0, 0] += 0.2
    far += 0.09
    query = torch.full((1, 1, 7, 7), 0.5)
    part = replace(part, x=torch.cat([near, far]))
    game = Game(part=part, access=AccessSpec(outside="refused", sharing="separate"), rows=10)

    def attack(model: ProxyModel, x: Tensor, y: Tensor, threat: Threat, budget: Budget) -> Tensor:
        model(query)
        assert budget.left_each is not None
        assert budget.left_each.tolist() == [5, 4]
        return x

    game.play(attack)
