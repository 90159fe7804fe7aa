"""What a sandbox costs: time to start and to remove a job, round trip of a small message, throughput of large ones.

    python benchmarks/sandbox_stream.py [--backends bubblewrap docker] [--megabytes 12] [--repeats 15]

12 MB are a batch of 1,000 CIFAR-10 images. Medians; a start counts until the first byte has come back. Beside the backends:
the same job as a plain child process over pipes, which no sandbox can beat.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import sandbox as package
from sandbox import Job, Limits, SandboxError, Stream, open_sandbox
from sandbox.python_env import python_mounts
from sandbox.stream import PipeStream

# Commands of 16 bytes: "r" + size: read so much; "w" + size: write so much; "e" + size: echo one message of that size.
_PEER = """
import os
buffer = memoryview(bytearray(1 << 20))
while True:
    command = os.read(0, 16)
    if len(command) < 16:
        break
    kind, size = command[:1], int(command[1:])
    if kind == b"e":
        os.write(1, os.read(0, size))
    while kind == b"r" and size:
        size -= os.readv(0, [buffer[: min(size, 1 << 20)]])
    while kind == b"w" and size:
        size -= os.write(1, buffer[: min(size, 1 << 20)])
    if kind == b"r":
        os.write(1, b"d")
"""
_ROUND_TRIPS = 500
_TIMEOUT = 120.0


@dataclass(frozen=True)
class Figures:
    """Medians. Milliseconds, microseconds, megabytes (10^6 bytes) per second."""

    start_ms: float
    remove_ms: float
    torch_s: float
    round_trip_us: float
    to_job_mb_s: float
    from_job_mb_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", default=["bubblewrap", "docker"])
    parser.add_argument("--megabytes", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    print(f"{'':14}" + "".join(f"{field.name:>15}" for field in fields(Figures)))
    _show("plain child", _measure(_plain, options.megabytes << 20, options.repeats))
    for name in options.backends:
        try:
            backend = open_sandbox(name)
        except SandboxError as error:
            print(f"{name:14} not measured: {error}")
            continue
        _show(name, _measure(functools.partial(_sandboxed, backend), options.megabytes << 20, options.repeats))


def _show(name: str, figures: Figures) -> None:
    print(f"{name:14}" + "".join(f"{getattr(figures, field.name):>15.1f}" for field in fields(Figures)), flush=True)


def _measure(run: Callable[[Job], AbstractContextManager[Stream]], size: int, repeats: int) -> Figures:
    starts, removals, torches = [], [], []
    for _ in range(repeats):
        before = time.perf_counter()
        with run(Job(("/bin/cat",))) as stream:
            _echo(stream)
            starts.append(time.perf_counter() - before)
            before = time.perf_counter()
        removals.append(time.perf_counter() - before)
    mounts, interpreter, env = python_mounts([Path(package.__file__).parent])
    for _ in range(min(3, repeats)):
        before = time.perf_counter()
        script = "import torch, os; os.write(1, b'x')"
        with run(Job((interpreter, "-c", script), mounts=mounts, env=env, limits=Limits(memory_mb=4096))) as stream:
            stream.receive(1, timeout=_TIMEOUT)
        torches.append(time.perf_counter() - before)
    with run(Job(("/usr/bin/python3", "-I", "-c", _PEER))) as stream:
        trips = [_timed(lambda: _round_trip(stream)) for _ in range(_ROUND_TRIPS)]
        payload = os.urandom(1 << 20) * (size >> 20)
        to_job = [_timed(lambda: _to_job(stream, payload)) for _ in range(repeats)]
        from_job = [_timed(lambda: _from_job(stream, size)) for _ in range(repeats)]
    median = statistics.median
    rates = (size / 1e6 / median(to_job), size / 1e6 / median(from_job))
    return Figures(median(starts) * 1e3, median(removals) * 1e3, median(torches), median(trips) * 1e6, *rates)


def _timed(action: Callable[[], None]) -> float:
    before = time.perf_counter()
    action()
    return time.perf_counter() - before


def _echo(stream: Stream) -> None:
    stream.send(b"x", timeout=_TIMEOUT)
    stream.receive(1, timeout=_TIMEOUT)


def _round_trip(stream: Stream) -> None:
    stream.send(b"e%015d" % 64, timeout=_TIMEOUT)
    stream.send(bytes(64), timeout=_TIMEOUT)
    stream.receive(64, timeout=_TIMEOUT)


def _to_job(stream: Stream, payload: bytes) -> None:
    stream.send(b"r%015d" % len(payload), timeout=_TIMEOUT)
    stream.send(payload, timeout=_TIMEOUT)
    stream.receive(1, timeout=_TIMEOUT)


def _from_job(stream: Stream, size: int) -> None:
    stream.send(b"w%015d" % size, timeout=_TIMEOUT)
    stream.receive(size, timeout=_TIMEOUT)


@contextmanager
def _sandboxed(backend: package.Sandbox, job: Job) -> Iterator[Stream]:
    with backend.start(job) as running:
        yield running.stream


@contextmanager
def _plain(job: Job) -> Iterator[Stream]:
    """The job as an ordinary child. Its own interpreter and packages are where they always were."""
    argv = [sys.executable if job.mounts else job.argv[0], *job.argv[1:]]
    (stdin, to_job), (from_job, stdout) = os.pipe(), os.pipe()
    process = subprocess.Popen(argv, stdin=stdin, stdout=stdout)
    os.close(stdin)
    os.close(stdout)
    stream = PipeStream(from_job, to_job)
    try:
        yield stream
    finally:
        process.kill()
        process.wait()
        stream.close()


if __name__ == "__main__":
    main()
