"""A model host in a plain subprocess (no sandbox): what the wire and proxy tests talk to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from nursery import started

from evaluator.host.proxy import Channel, RemoteModel

SMALL_NET = """
import torch
from torch import nn

def load(directory):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 3))
"""

X = torch.rand(6, 1, 7, 7, generator=torch.Generator().manual_seed(1))


def local_net() -> torch.nn.Module:
    scope: dict[str, object] = {}
    exec(SMALL_NET, scope)
    return scope["load"](None).eval().requires_grad_(False)  # type: ignore[operator]


def in_module(body: str) -> str:
    """A submission whose forward is `body` (x -> logits, self.net is a working net)."""
    lines = "\n".join("        " + line for line in body.strip().splitlines())
    return SMALL_NET.replace("def load", "def build") + (
        "\nimport os, sys, time\n"
        "class Defense(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.net = build(None)\n"
        f"    def forward(self, x):\n{lines}\n"
        "def load(directory):\n    return Defense()\n"
    )


class SocketTransport:
    """`evaluator.host.wire.Transport` over a socket."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end

    def send(self, data: bytes | bytearray | memoryview, *, timeout: float) -> None:
        self.end.settimeout(timeout)
        self.end.sendall(data)

    def receive(self, size: int, *, timeout: float) -> bytearray:
        self.end.settimeout(timeout)
        data = bytearray(size)
        view, got = memoryview(data), 0
        while got < size:
            read = self.end.recv_into(view[got:])
            if not read:
                raise EOFError
            got += read
        return data


def write_submission(folder: Path, code: str, name: str = "test defense") -> Path:
    """A Python submission."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "defense.toml").write_text(f'name = "{name}"\nformat = "python"\nentry = "defense.py"\n')
    (folder / "defense.py").write_text(code)
    return folder


@contextmanager
def hosted(folder: Path, *, classes: int = 3, reply_seconds: float = 20.0) -> Iterator[RemoteModel]:
    """A started host with the submission loaded."""
    ours, theirs = socket.socketpair()
    with ours, theirs, started("evaluator.host.serve", folder, theirs):
        theirs.close()
        channel = Channel(SocketTransport(ours), reply_seconds=reply_seconds, load_seconds=120)
        channel.load()
        yield RemoteModel(channel, classes=classes)
