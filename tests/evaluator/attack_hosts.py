"""A small defense, examples, and attacks that play it: in a thread, or as a submission in a plain subprocess (no sandbox)."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from hosts import SMALL_NET, SocketTransport
from nursery import started
from torch import Tensor, nn

from evaluator.attacks.base import Model
from evaluator.data.tensors import Examples
from evaluator.host import attack_serve
from evaluator.host.attack_session import AttackSession
from evaluator.host.proxy import Channel
from evaluator.host.wire import Message, Transport, encode, receive
from evaluator.manifests.spec import AccessSpec
from evaluator.manifests.threat_specs import LinfSpec, ThreatSpec
from evaluator.models.meter import Meter, MeteredModel
from evaluator.models.reading import ARGMAX, Reading

THREAT = LinfSpec(kind="linf", epsilon=0.1)


def net() -> nn.Module:
    scope: dict[str, Any] = {}
    exec(SMALL_NET, scope)
    return scope["load"](None).eval().requires_grad_(False)  # type: ignore[no-any-return]


def examples(count: int = 6) -> Examples:
    x = torch.rand(count, 1, 7, 7, generator=torch.Generator().manual_seed(1))
    return Examples(torch.arange(100, 100 + count), x, net()(x).argmax(dim=1), 3)


@dataclass
class Game:
    """One attack on one defense. meter: what the attack asked; its budget is `rows`."""

    defense: Model = field(default_factory=net)
    part: Examples = field(default_factory=examples)
    access: AccessSpec = field(default_factory=AccessSpec)
    threat: ThreatSpec = THREAT
    rows: int = 100_000
    seconds: float = 60.0
    reading: Reading = ARGMAX
    tick: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.meter = Meter(self.rows)

    def session(self, transport: Transport) -> AttackSession:
        model = MeteredModel(self.defense, self.meter, classes=self.part.classes, tick=self.tick, reading=self.reading)
        return AttackSession(
            transport,
            model,
            self.part,
            self.threat,
            self.access,
            seed=7,
            seconds=self.seconds,
            tick=self.tick,
        )

    def play(self, attack: Callable[..., Any]) -> Tensor:
        """Plays a Python function in a thread of this process: everything but the process is real."""
        return self.against(
            lambda transport: attack_serve.run(attack, receive(transport, limit=1 << 20, timeout=20), transport, Path())
        )

    def speak(self, *messages: bytes) -> Tensor:
        """Plays a peer that says these bytes, one after each thing that it is told."""

        def peer(transport: Transport) -> None:
            for message in messages:
                receive(transport, limit=1 << 20, timeout=20)
                transport.send(message, timeout=20)

        return self.against(peer)

    def against(self, peer: Callable[[Transport], None]) -> Tensor:
        ours, theirs = socket.socketpair()
        with ours:

            def run() -> None:
                with theirs, contextlib.suppress(OSError):  # a session that has ended reads no more
                    peer(SocketTransport(theirs))

            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            try:
                return self.session(SocketTransport(ours)).run()
            finally:
                ours.shutdown(socket.SHUT_RDWR)
                thread.join(timeout=20)


def write_attack(folder: Path, code: str) -> Path:
    """A Python attack submission."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "attack.toml").write_text('name = "test attack"\nformat = "python"\nentry = "attack.py"\n')
    (folder / "attack.py").write_text(code)
    return folder


@contextmanager
def hosted_attack(folder: Path) -> Iterator[Transport]:
    """A started attack host with the submission loaded."""
    ours, theirs = socket.socketpair()
    with ours, theirs, started("evaluator.host.attack_serve", folder, theirs):
        theirs.close()
        transport = SocketTransport(ours)
        Channel(transport, reply_seconds=20, load_seconds=120).load()
        yield transport


def frame(message: Message) -> bytes:
    """The bytes of one frame."""
    payload = encode(message)
    return len(payload).to_bytes(8, "little") + payload
