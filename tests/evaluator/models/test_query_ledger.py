"""Who pays for a question where each example has rows of its own, and that a batch is paid whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from attack_hosts import Game, examples, frame, net
from pydantic import ValidationError
from torch import Tensor

from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.host.attack_proxy import Budget, ProxyModel, QueryRefused
from evaluator.host.query_ledger import Ledger
from evaluator.host.wire import Message
from evaluator.manifests.spec import AccessSpec, Challenge
from evaluator.manifests.threat_specs import LinfSpec
from evaluator.models.meter import BudgetExhausted
from evaluator.threats import L0, L1, L2, Linf, Threat
from evaluator.threats.patch import Patch
from evaluator.threats.rotation_translation import RotationTranslation
from evaluator.threats.union import Union

SEPARATE = AccessSpec(sharing="separate")
STRICT = AccessSpec(sharing="separate", outside="refused")
GREY = torch.full((1, 1, 7, 7), 0.5)
WIDE = LinfSpec(kind="linf", epsilon=0.3)


def spread(*shifts: float) -> Tensor:
    """Gray images, the first number of each moved by its shift."""
    x = GREY.repeat(len(shifts), 1, 1, 1)
    x[:, 0, 0, 0] += torch.tensor(shifts)
    return x


def game(x: Tensor, **settings: Any) -> Game:
    part = examples(len(x))
    settings = {"access": SEPARATE, "threat": WIDE, "rows": 10 * len(x), **settings}
    return Game(part=replace(part, x=x, y=net()(x).argmax(dim=1)), **settings)


def spent(budget: Budget, each: int = 10) -> list[int]:
    assert budget.left_each is not None
    return (each - budget.left_each).tolist()


def test_what_each_example_has_is_known_before_the_first_question() -> None:
    seen: list[Any] = []

    def attack(model: ProxyModel, x: Tensor, y: Tensor, threat: Threat, budget: Budget) -> Tensor:
        seen.append(None if budget.left_each is None else budget.left_each.tolist())
        return x

    game(spread(0, 0, 0)).play(attack)
    game(spread(0, 0, 0), access=AccessSpec()).play(attack)
    assert seen == [[10, 10, 10], None]


def test_a_question_is_charged_to_the_example_whose_set_holds_it_and_not_to_its_nearest_neighbour() -> None:
    """Moved by 0.3 everywhere it is in the set of the first, and nearer (Euclidean) to the second, whose set is elsewhere."""
    first, second = GREY.clone(), GREY + 0.25
    second[0, 0, 0, :2] = 0.0
    query = GREY + 0.3
    assert (query - second).norm() < (query - first).norm()

    def attack(model: ProxyModel, x: Tensor, y: Tensor, threat: Threat, budget: Budget) -> Tensor:
        model(query)
        assert spent(budget) == [1, 0]
        return x

    game(torch.cat([first, second])).play(attack)


def test_where_several_sets_hold_a_question_the_named_example_pays_else_each_of_them() -> None:
    def attack(model: ProxyModel, x: Tensor, y: Tensor, threat: Threat, budget: Budget) -> Tensor:
        model(spread(0.1))  # in the sets of the first two
        assert spent(budget) == [1, 1, 0]
        model(spread(0.1), examples=[1])
        assert spent(budget) == [1, 2, 0]
        model(spread(0.1, 0.1, 0.0), examples=torch.tensor([0, 1, 0]))
        assert spent(budget) == [3, 3, 0]
        return x

    playing = game(spread(0.0, 0.2, 0.45))
    playing.play(attack)
    assert playing.meter.forward_rows == 5  # the model was asked once for each


def test_an_attack_that_names_another_image_pays_from_the_account_of_the_image_that_it_asks_about() -> None:
    def attack(model: ProxyModel, x: Tensor, y: Tensor, threat: Threat, budget: Budget) -> Tensor:
        inside = spread(*[0.01 * step for step in range(10)])
        model(inside, examples=[1, 2] * 5)
        assert spent(budget) == [10, 0, 0]
        for other in (1, 2):
            with pytest.raises(BudgetExhausted, match="position: cost of left; 0: 1 of 0"):
                model(inside[:1], examples=[other])
        return x

    game(spread(0.0, 0.45, -0.45)).play(attack)


def test_just_outside_a_set_a_name_opens_no_other_account_either() -> None:
    def attack(model: ProxyModel, x: Tensor, y: Tensor, threat: Threat, budget: Budget) -> Tensor:
        model(spread(0.1), examples=[1])
        model(spread(0.1))
        assert spent(budget) == [2, 0]
        return x

    game(spread(0.0, 0.45), threat=LinfSpec(kind="linf", epsilon=0.09)).play(attack)


def test_a_question_in_no_set_is_refused_where_the_pack_says_so_and_costs_nothing() -> None:
    def attack(model: ProxyModel, x: Tensor, y: Tensor, threat: Threat, budget: Budget) -> Tensor:
        with pytest.raises(QueryRefused, match="1 of 2 queries are outside the linf set \\(row 1 is"):
            model(torch.cat([x[:1], GREY - 0.4]), examples=[0, 0])
        assert spent(budget) == [0, 0]
        return x

    game(spread(0.0, 0.45), access=STRICT).play(attack)


@pytest.mark.parametrize(
    "named",
    [torch.tensor([5]), torch.tensor([-1]), torch.tensor([0, 1]), torch.tensor([0.0]), torch.tensor([[0]])],
    ids=["too high", "negative", "too many", "no integers", "two dimensions"],
)
def test_names_of_no_examples_are_refused_on_the_wire(named: Tensor) -> None:
    playing = game(spread(0.0, 0.1))
    question = frame(Message("forward", {}, {"x": GREY, "examples": named}))
    result = frame(Message("result", {}, {"points": spread(0.0, 0.1)}))
    playing.speak(question, result)
    assert playing.meter.cost == 0


def test_a_gradient_costs_its_example_two_rows_each_time_and_three_when_the_pass_is_asked_again() -> None:
    def attack(model: ProxyModel, x: Tensor, y: Tensor, threat: Threat, budget: Budget) -> Tensor:
        leaf = x[1:3].clone().requires_grad_(True)
        old = model(leaf)
        assert spent(budget, 40) == [0, 1, 1]
        for row in range(3):
            torch.autograd.grad(old[0, row], leaf, retain_graph=True)
            assert spent(budget, 40) == [0, 3 + 2 * row, 3 + 2 * row]
        model(x[:1].clone().requires_grad_(True))  # the pass that was differentiated is let go of
        torch.autograd.grad(old.sum(), leaf)
        assert spent(budget, 40) == [1, 10, 10]
        return x

    playing = game(spread(0.0, 0.35, -0.35), rows=120, threat=LinfSpec(kind="linf", epsilon=0.1))
    playing.play(attack)
    assert (playing.meter.forward_rows, playing.meter.backward_rows) == (5, 8)


def test_a_gradient_on_the_wire_is_charged_to_the_examples_of_its_pass_and_refused_when_they_cannot_pay() -> None:
    asked: list[Message] = []

    def peer(transport: Any) -> None:
        from evaluator.host.wire import receive

        asked.append(receive(transport, limit=1 << 20, timeout=20))
        vjp = Message("vjp", {"keep": "a"}, {"cotangent": torch.ones(1, 3)})
        for message in (Message("forward", {"keep": "a"}, {"x": GREY, "examples": torch.tensor([1])}), vjp, vjp, vjp):
            transport.send(frame(message), timeout=20)
            asked.append(receive(transport, limit=1 << 20, timeout=20))
        transport.send(frame(Message("result", {}, {"points": spread(0.0, 0.0)})), timeout=20)

    playing = game(spread(0.0, 0.0), rows=12)
    playing.against(peer)
    assert [message.op for message in asked] == ["attack", "logits", "gradient", "gradient", "refused"]
    assert [message.tensors["left_each"].tolist() for message in asked] == [[6, 6], [6, 5], [6, 3], [6, 1], [6, 1]]
    assert playing.meter.backward_rows == 2


def many(count: int) -> Tensor:
    return torch.rand(count, 1, 7, 7, generator=torch.Generator().manual_seed(3))


def test_a_batch_that_cannot_be_paid_whole_is_not_paid_in_part() -> None:
    asked: list[int] = []

    def defense(x: Tensor) -> Tensor:
        asked.append(len(x))
        return net()(x)  # type: ignore[no-any-return]

    def attack(model: ProxyModel, x: Tensor, y: Tensor, threat: Threat, budget: Budget) -> Tensor:
        with pytest.raises(BudgetExhausted, match="the batch costs 1,100 rows and 1,000 are left; nothing was charged"):
            model(many(1100))
        leaf = many(600).requires_grad_(True)
        logits = model(leaf)
        with pytest.raises(BudgetExhausted, match="the batch costs 1,200 rows and 400 are left; nothing was charged"):
            torch.autograd.grad(logits.sum(), leaf)
        assert budget.left == 400
        return x

    playing = Game(rows=1000, defense=defense)
    playing.play(attack)
    assert asked == [512, 88]
    assert (playing.meter.forward_rows, playing.meter.backward_rows) == (600, 0)


def test_a_gradient_whose_pass_must_be_asked_again_is_paid_with_it_or_not_at_all() -> None:
    def attack(model: ProxyModel, x: Tensor, y: Tensor, threat: Threat, budget: Budget) -> Tensor:
        leaf = x.clone().requires_grad_(True)
        logits = model(leaf)
        torch.autograd.grad(logits[:, 0].sum(), leaf, retain_graph=True)
        model(x[:1].clone().requires_grad_(True))  # lets the pass go
        assert budget.left == 17
        with pytest.raises(BudgetExhausted, match="the batch costs 18 rows and 17 are left"):
            torch.autograd.grad(logits[:, 1].sum(), leaf)
        assert budget.left == 17
        return x

    playing = Game(rows=6 + 12 + 1 + 17)
    playing.play(attack)
    assert playing.meter.cost == 19


def test_a_large_batch_of_separate_accounts_is_not_paid_in_part_either() -> None:
    def attack(model: ProxyModel, x: Tensor, y: Tensor, threat: Threat, budget: Budget) -> Tensor:
        rows = torch.tensor([0] * 600 + [1] * 500)
        with pytest.raises(BudgetExhausted, match=r"position: cost of left; 0: 600 of 550"):
            model(x[rows])
        assert spent(budget, 550) == [0, 0]
        model(x[rows[60:]])
        assert spent(budget, 550) == [540, 500]
        return x

    game(spread(0.0, 0.45), rows=1100).play(attack)


def test_an_attacker_who_asks_no_price_still_cannot_overdraw() -> None:
    half = frame(Message("forward", {}, {"x": spread(*[0.0] * 6)}))
    result = frame(Message("result", {}, {"points": spread(0.0)}))
    playing = game(spread(0.0), rows=10)
    playing.speak(half, half, result)
    assert playing.meter.cost == 6


THREATS: list[Threat] = [
    Linf(0.1), L2(0.7), L1(3.0), L0(3), Patch(side=2), Patch(side=2, location=(1, 1)),
    Union((Linf(0.05), L2(0.6), L0(2))),
]  # fmt: skip


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.kind)
@pytest.mark.parametrize("channels", [1, 3])
def test_whose_sets_hold_a_question_is_what_the_threat_says_pair_by_pair(threat: Threat, channels: int) -> None:
    x = torch.rand(9, channels, 12, 12, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4
    x[1], x[2] = x[0], (x[0] + 0.04).clamp(0, 1)
    inside = threat.random_start(x, Draws(0, torch.arange(9)))
    queries = torch.cat([x, inside, x + 0.2, x.flip(0)])
    charged = Ledger(x, threat, SEPARATE, rows=900).charged(queries)
    assert charged is not None
    for query, row in zip(queries, charged, strict=True):
        holds = threat.contains(x, query.expand_as(x))
        assert torch.equal(row, holds) if bool(holds.any()) else int(row.sum()) == 1


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.1), L1(0.1)], ids=lambda threat: threat.kind)
def test_in_no_set_the_nearest_in_the_threat_s_own_distance_pays(threat: Threat) -> None:
    x = torch.rand(9, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    queries = torch.rand(30, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    charged = Ledger(x, threat, SEPARATE, rows=900).charged(queries)
    assert charged is not None
    far = torch.stack([threat.distance(one.expand_as(queries), queries) for one in x], dim=1)
    assert torch.equal(charged.nonzero()[:, 1], far.argmin(dim=1))


@pytest.mark.parametrize("field", ["sharing", "outside"])
def test_sets_that_no_query_shows_have_neither_separate_accounts_nor_refusals(field: str) -> None:
    value = {"sharing": "separate", "outside": "refused"}[field]
    table: dict[str, Any] = {"title": "Rotations", "data": {"dataset": "mnist", "split": "test", "examples": 10}}
    table |= {"threat": {"kind": "rotation-translation", "degrees": 20, "pixels": 2}, "access": {field: value}}
    with pytest.raises(ValidationError, match=f'"{value}" needs a threat whose points are inputs'):
        Challenge.model_validate(table)
    with pytest.raises(InputError, match="a query does not show whose"):
        Ledger(GREY, RotationTranslation(20, 2), AccessSpec(**{field: value}), rows=1)


def test_asking_with_names_is_the_same_model() -> None:
    answers: list[Tensor] = []

    def attack(model: Callable[..., Tensor], x: Tensor, *rest: object) -> Tensor:
        leaf = x.clone().requires_grad_(True)
        logits = model(leaf, examples=range(len(x)))
        answers.extend([logits.detach(), *torch.autograd.grad(logits[:, 0].sum(), leaf)])
        return x

    part = examples(3)
    game(part.x).play(attack)
    leaf = part.x.clone().requires_grad_(True)
    logits = net()(leaf)
    torch.testing.assert_close(answers[0], logits.detach())
    torch.testing.assert_close(answers[1], *torch.autograd.grad(logits[:, 0].sum(), leaf))
