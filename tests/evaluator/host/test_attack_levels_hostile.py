"""Hostile attacks look for more than their access level says, and find nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from attack_hosts import Game, examples, frame, net
from torch import Tensor

from evaluator.errors import SubmissionError
from evaluator.host.attack_proxy import ProxyModel, QueryRefused
from evaluator.host.attack_session import AttackFault, AttackSession
from evaluator.host.wire import Message, Transport, receive, send
from evaluator.manifests.spec import AccessSpec
from evaluator.models.meter import BudgetExhausted

X = examples().x
LOWER = ("scores", "labels", "none")


def near(rows: int = 64) -> Tensor:
    """Inputs that cross boundaries and lie close to them."""
    steps = torch.linspace(0, 1, rows)[:, None, None, None]
    return X[:1] * (1 - steps) + X[1:2] * steps


def test_label_rows_say_the_class_and_not_a_bit_more_however_they_are_asked() -> None:
    seen: dict[str, Tensor] = {}

    def attack(model: ProxyModel, x: Tensor, *_: object) -> Tensor:
        inputs = near()
        seen["whole"] = model(inputs)
        seen["one by one"] = torch.cat([model(row[None]) for row in inputs])
        seen["with a gradient"] = model(inputs.clone().requires_grad_(True))
        with torch.inference_mode():
            seen["in inference mode"] = model(inputs)
        return x

    middle = net()(near()).mean(dim=0)
    Game(defense=lambda x: net()(x) - middle, access=AccessSpec(level="labels")).play(attack)
    true = (net()(near()) - middle).argmax(dim=1)
    assert len(true.unique()) > 1
    for answer in seen.values():
        assert answer.grad_fn is None
        assert not answer.requires_grad
        assert torch.equal(answer, torch.nn.functional.one_hot(true, 3).float())
        assert not torch.signbit(answer).any(), "a zero has no second form"


@pytest.mark.parametrize("level", LOWER)
def test_an_attack_that_gives_itself_another_level_gets_no_gradient_and_pays_for_none(level: Any) -> None:
    refused: list[str] = []

    def attack(model: ProxyModel, x: Tensor, *_: object) -> Tensor:
        model._level = "gradients"
        leaf = x.clone().requires_grad_(True)
        for ask in (
            lambda: torch.autograd.grad(model(leaf).sum(), leaf),
            lambda: model.vjp(x, torch.ones(len(x), 3), "a graph of my own"),
            lambda: model.vjp(x, torch.ones(len(x), 3), model.next_pass()),
        ):
            with pytest.raises(QueryRefused) as refusal:
                ask()
            refused.append(str(refusal.value))
        return x

    game = Game(access=AccessSpec(level=level))
    assert torch.equal(game.play(attack), X)
    assert len(refused) == 3
    assert game.meter.backward_rows == 0
    assert game.meter.forward_rows == (0 if level == "none" else 6)


@pytest.mark.parametrize("level", LOWER)
def test_below_gradients_no_graph_is_kept_and_a_price_tells_nothing_of_one(level: Any) -> None:
    told: list[Message] = []

    def peer(transport: Transport) -> None:
        receive(transport, limit=1 << 20, timeout=20)
        for question in (
            Message("forward", {"keep": "k"}, {"x": X}), Message("price", {"keep": "k"}), Message("price", {"keep": "other"})
        ):  # fmt: skip
            send(transport, question, timeout=20)
            told.append(receive(transport, limit=1 << 20, timeout=20))
        send(transport, Message("result", {}, {"points": X}), timeout=20)

    sessions: list[AttackSession] = []
    recorded: Game = Game(access=AccessSpec(level=level))
    opened = recorded.session
    recorded.session = lambda transport: sessions.append(opened(transport)) or sessions[-1]  # type: ignore[method-assign,func-returns-value]
    recorded.against(peer)
    assert [message.op for message in told[1:]] == ["expired", "expired"]
    assert not sessions[0]._graphs


@pytest.mark.parametrize("level", ["labels", "scores"])
def test_an_answer_is_as_many_bytes_whatever_it_says(level: Any) -> None:
    sizes: set[int] = set()

    def peer(transport: Transport) -> None:
        receive(transport, limit=1 << 20, timeout=20)
        for row in near():
            send(transport, Message("forward", {}, {"x": row[None]}), timeout=20)
            reply = receive(transport, limit=1 << 20, timeout=20)
            sizes.add(len(frame(Message(reply.op, {**reply.fields, "left": ""}, reply.tensors))))
        send(transport, Message("result", {}, {"points": X}), timeout=20)

    Game(access=AccessSpec(level=level)).against(peer)
    assert len(sizes) == 1


@pytest.mark.parametrize("level", ["labels", "scores"])
def test_the_defense_does_the_same_work_for_every_question_without_a_graph(level: Any) -> None:
    """What time tells is how long the network computes; nothing on the scorer's side depends on the answer."""
    modes: list[tuple[int, bool, bool]] = []
    network = net()

    def defense(x: Tensor) -> Tensor:
        modes.append((len(x), torch.is_grad_enabled(), x.requires_grad))
        return network(x)  # type: ignore[no-any-return]

    def attack(model: ProxyModel, x: Tensor, *_: object) -> Tensor:
        for row in near(16):
            model(row[None].clone().requires_grad_(True))
        return x

    Game(defense=defense, access=AccessSpec(level=level)).play(attack)
    assert set(modes) == {(1, False, False)}


SECRET = "weights[3] = 0.7311, line 12 of defense.py"


@pytest.mark.parametrize("level", ["gradients", "scores", "labels"])
def test_what_a_defense_says_when_it_fails_outside_the_box_reaches_no_attack(level: Any) -> None:
    heard: list[str] = []

    def defense(x: Tensor) -> Tensor:
        if bool((x > 1).any()):
            raise SubmissionError("raised", SECRET, where=SECRET, help=SECRET)
        return net()(x)  # type: ignore[no-any-return]

    def attack(model: ProxyModel, x: Tensor, *_: object) -> Tensor:
        with pytest.raises(QueryRefused) as refusal:
            model(x + 0.9)
        heard.append(str(refusal.value))
        return x

    Game(defense=defense, access=AccessSpec(level=level)).play(attack)
    assert heard
    assert SECRET not in heard[0]


def test_nor_does_it_reach_the_team_of_an_attack_that_kills_the_defense() -> None:
    def defense(x: Tensor) -> Tensor:
        raise SubmissionError("died", SECRET, where=SECRET, help=SECRET)

    with pytest.raises(AttackFault) as fault:
        Game(defense=defense).play(lambda model, x, *_: model(x + 0.9))
    assert SECRET not in str(fault.value)
    assert '"died"' in str(fault.value)


def asked_at_the_edge(attack: Callable[..., Any], *, rows: int) -> tuple[int, Game]:
    """Rows that reached the defense, counted where it computes."""
    counted: list[int] = []
    network = net()

    def defense(x: Tensor) -> Tensor:
        counted.append(len(x))
        return network(x)  # type: ignore[no-any-return]

    game = Game(defense=defense, rows=rows)
    game.play(attack)
    return sum(counted), game


def test_threads_at_the_edge_of_the_budget_buy_no_row_more() -> None:
    answered: list[int] = []

    def attack(model: ProxyModel, x: Tensor, *_: object) -> Tensor:
        def spend() -> None:
            model._line.budget.left = 10**9  # what the attack holds of its budget is its own belief
            for _ in range(20):
                try:
                    answered.append(len(model(x[:1])))
                except BudgetExhausted:
                    model._line.budget.left = 10**9

        threads = [threading.Thread(target=spend) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return x

    computed, game = asked_at_the_edge(attack, rows=13)
    assert (computed, sum(answered), game.meter.cost) == (13, 13, 13)


def test_a_gradient_that_is_asked_for_by_many_threads_is_paid_by_each() -> None:
    gained: list[Tensor] = []

    def attack(model: ProxyModel, x: Tensor, *_: object) -> Tensor:
        leaf = x[:1].clone().requires_grad_(True)
        logits = model(leaf)

        def spend() -> None:
            for _ in range(5):
                try:
                    gained.append(torch.autograd.grad(logits.sum(), leaf, retain_graph=True)[0])
                except BudgetExhausted:
                    return

        threads = [threading.Thread(target=spend) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return x

    computed, game = asked_at_the_edge(attack, rows=8)  # one forward row, and three gradients at two
    assert len(gained) == 3
    assert (computed, game.meter.cost) == (1, 7)


def test_questions_sent_before_their_answers_are_read_are_paid_one_by_one() -> None:
    told: list[str] = []

    def peer(transport: Transport) -> None:
        receive(transport, limit=1 << 20, timeout=20)
        question = frame(Message("forward", {"keep": "k"}, {"x": X}))
        transport.send(question * 5 + frame(Message("vjp", {"keep": "k"}, {"cotangent": torch.ones(6, 3)})) * 3, timeout=20)
        told.extend(receive(transport, limit=1 << 20, timeout=20).op for _ in range(8))
        send(transport, Message("result", {}, {"points": X}), timeout=20)

    game = Game(rows=30)
    game.against(peer)
    assert told == ["logits"] * 5 + ["refused"] * 3
    assert (game.meter.forward_rows, game.meter.backward_rows) == (30, 0)
