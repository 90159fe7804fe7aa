"""An attack that misbehaves is a typed failure of the attack, at once: never a hang, and never the defense's fault."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from attack_hosts import Game, examples, frame, hosted_attack, net, write_attack
from torch import Tensor

from evaluator.errors import Cancelled, SubmissionError
from evaluator.host.attack_proxy import ProxyModel, QueryRefused
from evaluator.host.attack_session import AttackFault
from evaluator.host.wire import Message, Transport, receive
from evaluator.manifests.spec import AccessSpec

X = examples().x


def forward(x: Tensor, **fields: str) -> bytes:
    return frame(Message("forward", fields, {"x": x}))


@pytest.mark.parametrize(
    ("spoken", "reason", "words"),
    [
        ([b"\x00" * 64], "protocol", "mean nothing"),
        ([b"\xff" * 64], "oversized", "where at most"),
        ([frame(Message("labels"))], "protocol", '"labels"'),
        ([frame(Message("result"))], "protocol", '"result"'),
        ([frame(Message("result", {}, {"points": torch.zeros(600_000)}))], "oversized", "one point per example"),
        ([frame(Message("failed", {"reason": "nonsense", "detail": "z" * 9000}))], "raised", "z" * 2000),
        ([frame(Message("failed"))], "raised", "without output"),
        ([], "died", "ended before it returned"),
        ([forward(X)[:100]], "died", "ended before it returned"),
    ],
    ids=["zeros", "ones", "unknown", "no points", "too many", "long words", "no words", "silence", "half a frame"],
)
def test_bytes_that_are_no_question_end_the_session(spoken: list[bytes], reason: str, words: str) -> None:
    with pytest.raises(AttackFault) as fault:
        Game().speak(*spoken)
    assert fault.value.error.reason == reason
    assert words in str(fault.value)
    assert len(str(fault.value)) < 2500


@pytest.mark.parametrize(
    "question",
    [
        forward(X.double()),
        forward(X[:, :, :5]),
        forward(X[:0]),
        forward(X * torch.nan),
        forward(X * 1e30),
        frame(Message("forward")),
        frame(Message("vjp", {"keep": "1"}, {"cotangent": torch.zeros(2, 3)})),
        frame(Message("vjp", {"keep": "1"}, {"cotangent": torch.full((6, 3), torch.inf)})),
        frame(Message("vjp", {"keep": "1"}, {"cotangent": torch.zeros(6, 3, dtype=torch.int64)})),
        frame(Message("vjp", {"keep": "1"})),
        frame(Message("vjp")),
    ],
)
def test_a_malformed_question_is_refused_and_never_reaches_the_defense(question: bytes) -> None:
    asked: list[int] = []

    def defense(x: Tensor) -> Tensor:
        asked.append(len(x))
        return net()(x)  # type: ignore[no-any-return]

    game = Game(defense=defense)
    returned = game.speak(forward(X, keep="1"), question, frame(Message("result", {}, {"points": X})))
    assert torch.equal(returned, X)
    assert asked == [6]
    assert game.meter.cost == 6


def test_a_gradient_asked_for_on_the_wire_at_a_lower_level_is_refused() -> None:
    replies: list[Message] = []

    def peer(transport: Transport) -> None:
        receive(transport, limit=1 << 20, timeout=20)
        for said in (forward(X, keep="1"), frame(Message("vjp", {"keep": "1"}, {"cotangent": torch.ones(6, 3)}))):
            transport.send(said, timeout=20)
            replies.append(receive(transport, limit=1 << 20, timeout=20))
        transport.send(frame(Message("result", {}, {"points": X})), timeout=20)

    game = Game(access=AccessSpec(level="scores"))
    game.against(peer)
    assert [reply.op for reply in replies] == ["logits", "refused"]
    assert replies[1].fields["reason"] == "access"
    assert (game.meter.forward_rows, game.meter.backward_rows) == (6, 0)


def exploding(x: Tensor) -> Tensor:
    """Right inside [0, 1], as it must be; NaN outside."""
    return torch.where(((x < 0) | (x > 1)).any(), torch.nan, 1.0) * net()(x)  # type: ignore[no-any-return]


def test_a_defense_does_not_answer_for_queries_outside_the_box_or_for_huge_losses() -> None:
    def attack(model: ProxyModel, x: Tensor, *rest: object) -> Tensor:
        with pytest.raises(QueryRefused, match="has no answer"):
            model(x + 0.5)
        leaf = x.clone().requires_grad_(True)
        with pytest.raises(QueryRefused, match="has no answer"):
            (model(leaf) * 3e38).sum().backward()
        return x

    Game(defense=lambda x: 1e6 * exploding(x)).play(attack)


def test_a_defense_that_breaks_the_contract_inside_the_box_is_the_one_that_failed() -> None:
    def attack(model: ProxyModel, x: Tensor, *rest: object) -> Tensor:
        return model(x)

    with pytest.raises(SubmissionError, match="NaN or Inf for 6 of 6"):
        Game(defense=lambda x: net()(x) * torch.nan).play(attack)


def test_a_defense_that_dies_of_a_query_outside_the_box_is_the_attack_s_doing() -> None:
    def defense(x: Tensor) -> Tensor:
        if bool((x > 1).any()):
            raise SubmissionError("died", "the process ended.")
        return net()(x)  # type: ignore[no-any-return]

    with pytest.raises(AttackFault, match="Clamp your queries"):
        Game(defense=defense).play(lambda model, x, *rest: model(x + 0.5))


@pytest.mark.parametrize(
    ("attack", "reason", "words"),
    [
        (lambda *given: [1], "shape", "returned a list"),
        (lambda *given: None, "shape", "returned a NoneType"),
        (lambda *given: 1 / 0, "raised", "ZeroDivisionError"),
        (lambda model, *given: model(X.double()), "raised", "takes float32 batches (n, 1, 7, 7)"),
        (lambda *given: sys.exit(0), "raised", "SystemExit"),
    ],
)
def test_an_attack_that_fails_says_why(attack: Callable[..., object], reason: str, words: str) -> None:
    with pytest.raises(AttackFault) as fault:
        Game().play(attack)
    assert fault.value.error.reason == reason
    assert words in str(fault.value)


@pytest.mark.parametrize("busy", ["sleeping", "asking"])
def test_an_attack_that_never_returns_is_stopped_by_the_clock(busy: str) -> None:
    def attack(model: ProxyModel, x: Tensor, *rest: object) -> Tensor:
        time.sleep(3 if busy == "sleeping" else 0)
        while True:
            model(x[:1])

    begun = time.monotonic()
    with pytest.raises(AttackFault) as fault:
        Game(seconds=1.0, rows=10**9).play(attack)
    assert fault.value.error.reason == "timeout"
    assert time.monotonic() - begun < 10


def test_a_session_is_cancelled_while_the_attack_computes() -> None:
    begun = time.monotonic()

    def tick() -> None:
        if time.monotonic() - begun > 0.5:
            raise Cancelled("the evaluation was cancelled.")

    with pytest.raises(Cancelled):
        Game(tick=tick).play(lambda *given: time.sleep(2))
    assert time.monotonic() - begun < 8


def test_a_peer_that_stops_in_the_middle_of_a_frame_does_not_outlive_the_frame_s_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluator.host.patience.FRAME_SECONDS", 0.5)

    def peer(transport: Transport) -> None:
        receive(transport, limit=1 << 20, timeout=20)
        transport.send(forward(X)[:50], timeout=20)
        time.sleep(1)

    with pytest.raises(AttackFault) as fault:
        Game().against(peer)
    assert fault.value.error.reason == "timeout"


PROCESS = """
import os, sys, threading, time

def attack(model, x, y, threat, budget):
{body}
    return x
"""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("os._exit(3)", {"died"}),
        ("for fd in range(3, 20):\n    try: os.write(fd, b'x' * 64)\n    except OSError: pass", {"oversized", "protocol"}),
    ],
    ids=["exits", "garbage"],
)
def test_a_process_that_misbehaves_is_a_typed_failure(tmp_path: Path, body: str, reason: set[str]) -> None:
    code = PROCESS.format(body="\n".join("    " + line for line in body.splitlines()))
    with hosted_attack(write_attack(tmp_path, code)) as transport, pytest.raises(AttackFault) as fault:
        Game().session(transport).run()
    assert fault.value.error.reason in reason


def test_what_the_attack_prints_and_reads_never_touches_the_stream(tmp_path: Path) -> None:
    body = "    print('x' * 100000, flush=True)\n    os.write(1, b'y' * 1000)\n    assert sys.stdin.read() == ''"
    with hosted_attack(write_attack(tmp_path, PROCESS.format(body=body))) as transport:
        assert torch.equal(Game().session(transport).run(), X)
