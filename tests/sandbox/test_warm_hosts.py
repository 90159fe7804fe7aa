"""Hosts that are started ahead: each serves one submission, with its limits, and none outlives its pool."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from arena.running.warm import HostPool
from sandbox import Job, Limits, Running, Sandbox
from sandbox.bubblewrap.sandbox import BubblewrapSandbox
from sandbox.owner import Owner
from sandbox.sweeping import sweep
from tests.sandbox.conformance.support import PYTHON, finish, processes_with, soon
from tests.sandbox.engine import reachable_engine

ROOT = Path(__file__).resolve().parents[2]
TARGET = PurePosixPath("/submission")
# Waits for a line as a host waits for "load", and tells what it sees; then waits for the next one.
TELL = "while read line; do echo $(cat /submission/* 2>/dev/null) $(ls /tmp) end; touch /tmp/used; done"


@pytest.fixture(params=["bubblewrap", pytest.param("docker", marks=pytest.mark.docker)])
def backend(request: pytest.FixtureRequest) -> Sandbox:
    return BubblewrapSandbox() if request.param == "bubblewrap" else reachable_engine()


@pytest.fixture
def pool() -> Iterator[HostPool]:
    made = HostPool(1)
    yield made
    made.close()
    assert folders() == []


def folders() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob(f"redoubt-warm-{Owner.current()}-*"))


def teller(seconds: float = 60.0) -> Job:
    return Job(("/bin/sh", "-c", TELL), limits=Limits(seconds=seconds))


def submission(folder: Path, text: str) -> Path:
    made = folder / text
    (made / "deep").mkdir(parents=True)
    (made / "file").write_text(text)
    (made / "file").chmod(0o644)
    return made


def told(running: Running) -> str:
    running.stream.send(b"load\n", timeout=10)
    text = bytearray()
    while not text.endswith(b"end\n"):
        text += running.stream.receive(1, timeout=10)
    return text.decode().removesuffix("end\n").strip()


def test_each_submission_has_a_host_of_its_own_and_sees_nothing_of_the_others(
    backend: Sandbox, pool: HostPool, tmp_path: Path
) -> None:
    seen = []
    for text in ("first", "second", "third"):
        with pool.host(backend, teller(), submission(tmp_path, text), TARGET) as running:
            seen.append(told(running))
            assert told(running) == f"{text} used", "a host serves its own submission on"
    assert seen == ["first", "second", "third"]


def test_a_prepared_host_is_taken_once_and_was_started_before_it_was_asked_for(
    backend: Sandbox, pool: HostPool, tmp_path: Path
) -> None:
    with pool.host(backend, teller(), submission(tmp_path, "first"), TARGET) as running:
        told(running)
        pool.prepare(backend, teller(), TARGET)
        prepared = pool._ready[0][1].result().running
        assert prepared is not running
    with pool.host(backend, teller(), submission(tmp_path, "second"), TARGET) as running:
        assert running is prepared
        assert told(running) == "second"
    with pool.host(backend, teller(), submission(tmp_path, "third"), TARGET) as running:
        assert running is not prepared


def test_the_next_host_is_prepared_once_and_not_before_this_one_has_loaded(
    backend: Sandbox, pool: HostPool, tmp_path: Path
) -> None:
    job = teller()
    with pool.host(backend, job, submission(tmp_path, "first"), TARGET) as running:
        told(running)
        assert len(folders()) == 1
        for _ in range(2):
            pool.prepare(backend, job, TARGET)
        soon(lambda: len(folders()) == 2, "the next one is being made")
    pool.prepare(backend, job, TARGET)
    assert len(folders()) == 1


def test_the_files_cannot_be_changed_by_their_host(backend: Sandbox, pool: HostPool, tmp_path: Path) -> None:
    script = "read line; { echo x > /submission/file || touch /submission/new || rm -f /submission/file; } 2>/dev/null; exit $?"
    mine = submission(tmp_path, "mine")
    with pool.host(backend, Job(("/bin/sh", "-c", script)), mine, TARGET) as running:
        running.stream.send(b"load\n", timeout=10)
        assert finish(running).code != 0
    assert (mine / "file").read_text() == "mine"


def test_a_hosts_time_begins_with_its_submission(backend: Sandbox, pool: HostPool, tmp_path: Path) -> None:
    with pool.host(backend, teller(3.0), submission(tmp_path, "first"), TARGET) as running:
        told(running)
        pool.prepare(backend, teller(3.0), TARGET)
    pool._ready[0][1].result()
    time.sleep(3.1)
    with pool.host(backend, teller(3.0), submission(tmp_path, "second"), TARGET) as running:
        assert told(running) == "second", "waiting in the pool has not used up its time"
        assert finish(running).cause == "deadline"


def test_a_prepared_host_is_bounded_in_memory(backend: Sandbox, pool: HostPool, tmp_path: Path) -> None:
    hoard = "import sys; sys.stdin.readline(); x = [bytearray(b'x' * (1 << 20)) for _ in range(500)]"
    job = Job((PYTHON, "-I", "-c", hoard), limits=Limits(memory_mb=64, seconds=60))
    for name in ("cold", "prepared"):
        with pool.host(backend, job, submission(tmp_path, name), TARGET) as running:
            running.stream.send(b"load\n", timeout=10)
            assert finish(running).cause == "memory"


def test_only_so_many_hosts_wait_as_the_pool_is_allowed(backend: Sandbox, pool: HostPool, tmp_path: Path) -> None:
    for number in range(3):
        with pool.host(backend, teller(60.0 + number), submission(tmp_path, str(number)), TARGET) as running:
            told(running)
    soon(lambda: len(folders()) == 1, "one waits, of the kind asked for last")


def test_a_pool_of_none_starts_hosts_when_they_are_asked_for(backend: Sandbox, tmp_path: Path) -> None:
    with HostPool(0).host(backend, teller(), submission(tmp_path, "only"), TARGET) as running:
        assert told(running) == "only"
        assert folders() == []


def test_a_host_that_ended_while_it_waited_is_replaced(backend: Sandbox, pool: HostPool, tmp_path: Path) -> None:
    job = Job(("/bin/sh", "-c", f"if ls /submission/* >/dev/null 2>&1; then {TELL}; fi; sleep 0.2"), limits=Limits(seconds=60))
    for name in ("first", "second"):
        with pool.host(backend, job, submission(tmp_path, name), TARGET):
            time.sleep(1)


def test_prepared_hosts_go_with_a_killed_worker(backend: Sandbox, tmp_path: Path) -> None:
    marker = f"warm-{os.getpid()}-{backend.name}"
    folder = submission(tmp_path, "mine")
    script = f"""
import os, signal, sys, time
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "platform")!r}]
from pathlib import Path, PurePosixPath
from arena.running.warm import HostPool
from sandbox import Job, open_sandbox
pool = HostPool(1)
job = Job(("/bin/sh", "-c", "read line; sleep 300; : {marker}"))
with pool.host(open_sandbox({backend.name!r}), job, Path({str(folder)!r}), PurePosixPath("/submission")):
    pool.prepare(open_sandbox({backend.name!r}), job, PurePosixPath("/submission"))
    pool._ready[0][1].result()
    print("ready", flush=True)
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL).returncode == -signal.SIGKILL
    soon(lambda: processes_with(marker) == [], "both hosts are gone")
    assert len([line for line in sweep() if "redoubt-warm-" in line]) == 2
