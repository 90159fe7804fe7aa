"""A model host in a plain subprocess (no sandbox): what the wire and proxy tests talk to."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evaluator.host.proxy import Channel, RemoteModel

SMALL_NET = """
import torch
from torch import nn

def load(directory):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 3))
"""


class SocketTransport:
    """`evaluator.wire.Transport` over a socket."""

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
    argv = [sys.executable, "-m", "evaluator.host.serve", str(folder)]
    with ours, subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL) as process:
        theirs.close()
        try:
            channel = Channel(SocketTransport(ours), reply_seconds=reply_seconds, load_seconds=120)
            channel.load()
            yield RemoteModel(channel, classes=classes)
        finally:
            process.kill()
