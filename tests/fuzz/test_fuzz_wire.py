"""No bytes that a peer sends do more than fail its own submission: no crash, no hang, no memory beyond a frame's own."""

from __future__ import annotations

import io
import random
import resource
import struct
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from attack_hosts import Game, net
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.errors import SubmissionError
from evaluator.host.attack_session import AttackFault
from evaluator.host.proxy import Channel, RemoteModel
from evaluator.host.serve import Host, Pipes
from evaluator.host.wire import ENVELOPE_BYTES, FrameTooLarge, Message, WireError, decode, encode, receive
from evaluator.models.meter import Meter, MeteredModel
from tests.fuzz.frames import CLASSES, ROWS, SHAPE, Replay, announced, frame

SEEDS = st.integers(0, 2**32 - 1)
X = torch.rand(ROWS, *SHAPE, generator=torch.Generator().manual_seed(2))
HOST = Host(net())
# A frame is copied a few times on its way to a tensor; its header becomes Python objects.
ROOM = 8 * (ENVELOPE_BYTES + X.numel() * 8)
SLOWEST = 2.0  # seconds for one frame, on a machine that does other things as well


def remote(said: bytes) -> MeteredModel:
    channel = Channel(Replay(said), reply_seconds=1, load_seconds=1)
    return MeteredModel(RemoteModel(channel, classes=CLASSES), Meter(), classes=CLASSES)


def as_reply_to_forward(said: bytes) -> None:
    logits = remote(said)(X)
    assert (logits.shape, logits.dtype) == ((ROWS, CLASSES), torch.float32)
    assert torch.isfinite(logits).all()


def as_reply_to_vjp(said: bytes) -> None:
    right = encode(Message("logits", {}, {"logits": torch.zeros(ROWS, CLASSES)}))
    x = X.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(remote(struct.pack("<Q", len(right)) + right + said)(x).sum(), x)
    assert gradient.shape == X.shape
    assert torch.isfinite(gradient).all()


def as_reply_to_inspect(said: bytes) -> None:
    RemoteModel(Channel(Replay(said), reply_seconds=1, load_seconds=1), classes=CLASSES).inspected(X)


def as_reply_to_load(said: bytes) -> None:
    Channel(Replay(said), reply_seconds=1, load_seconds=1).load()


def as_words_of_an_attack(said: bytes) -> None:
    try:
        Game(rows=200, seconds=5).session(Replay(said)).run()
    except AttackFault as fault:
        raise fault.error from fault


REPLIES = (as_reply_to_forward, as_reply_to_vjp, as_reply_to_inspect, as_reply_to_load, as_words_of_an_attack)


def heard(listen: Callable[[bytes], None], said: bytes) -> str:
    """How the scorer takes these bytes: "right", or the reason that the submission is told. Any other error is raised."""
    try:
        listen(said)
    except SubmissionError as error:
        return error.reason
    return "right"


def answered(payload: bytes) -> str:
    """How a host takes a request: the operation of its reply, or "refused" where it is no message at all."""
    try:
        request = decode(payload)
    except WireError:
        return "refused"
    return HOST.answer(request).op


def within_memory(work: Callable[[], object], room: int) -> None:
    """Fails when `work` holds more than `room` bytes at once."""
    tracemalloc.start()
    try:
        work()
        assert tracemalloc.get_traced_memory()[1] <= room
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("listen", REPLIES)
@settings(max_examples=300)
@given(seed=SEEDS)
def test_damaged_frames_fail_the_submission_and_nothing_else(listen: Callable[[bytes], None], seed: int) -> None:
    rng = random.Random(seed)
    said = b"".join(announced(rng, frame(rng)) for _ in range(rng.choice((1, 1, 2, 5))))
    heard(listen, said)


@pytest.mark.parametrize("listen", REPLIES)
@settings(max_examples=150)
@given(said=st.binary(max_size=400))
def test_noise_fails_the_submission_and_nothing_else(listen: Callable[[bytes], None], said: bytes) -> None:
    assert heard(listen, said) in ("died", "protocol", "oversized")


@settings(max_examples=300)
@given(seed=SEEDS)
def test_a_host_answers_every_request_with_a_message(seed: int) -> None:
    assert answered(frame(random.Random(seed))) in ("refused", "failed", "logits", "gradient", "expired", "inspected", "spent")


@settings(max_examples=200)
@given(seed=SEEDS)
def test_decoding_holds_no_more_memory_than_a_few_frames(seed: int) -> None:
    payload = frame(random.Random(seed))
    within_memory(lambda: answered(payload), ROOM)


@settings(max_examples=100)
@given(size=st.integers(ENVELOPE_BYTES + 1, 2**64 - 1))
def test_an_announced_length_alone_costs_no_memory(size: int) -> None:
    def listen() -> None:
        with pytest.raises(FrameTooLarge):
            receive(Replay(struct.pack("<Q", size)), limit=ENVELOPE_BYTES, timeout=1)

    within_memory(listen, ENVELOPE_BYTES)


@settings(max_examples=100)
@given(said=st.binary(max_size=40), size=st.integers(0, 60))
def test_a_hosts_own_pipes_end_with_the_end_of_their_input(said: bytes, size: int) -> None:
    pipes = Pipes.__new__(Pipes)
    pipes._reader = io.BytesIO(said)  # type: ignore[assignment]
    if size > len(said):
        with pytest.raises(EOFError):
            pipes.receive(size, timeout=1)
    else:
        assert pipes.receive(size, timeout=1) == said[:size]


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_a_million_frames_are_taken_without_a_crash_a_hang_or_growing_memory() -> None:
    rng, endings, slowest = random.Random(0), Counter[str](), 0.0
    total = 1_000_000
    resident = 0
    for number in range(total):
        payload = frame(rng)
        begun = time.perf_counter()
        if number % 10 == 0:
            endings[f"host: {answered(payload)}"] += 1
        else:
            listen = REPLIES[number % len(REPLIES)] if number % 3 == 0 else as_reply_to_forward
            endings[f"scorer: {heard(listen, announced(rng, payload))}"] += 1
        slowest = max(slowest, time.perf_counter() - begun)
        if number == total // 10:  # what the libraries allocate once is allocated by then
            resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident
    print(f"slowest frame {slowest:.3f} s, grown by {grown} KiB, {endings}")
    assert slowest < SLOWEST
    assert grown < 64 << 10
    assert endings.keys() >= {"scorer: right", "scorer: protocol", "scorer: oversized", "scorer: raised", "host: failed"}
