"""Starting, ending, killing, and what must be gone afterwards."""

from __future__ import annotations

import gc
import secrets
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from sandbox import Exit, Job, Limits, Mount, Running, Sandbox, SandboxError
from tests.sandbox.conformance.support import PATIENCE, finish, processes_with, python, refused, shell, soon, traces


def exit_status_and_signals_are_kept_apart(sandbox: Sandbox) -> None:
    for script, ending in (
        ("exit 0", Exit("exited", 0)),
        ("exit 3", Exit("exited", 3)),
        ("kill -SEGV $$", Exit("signal", None, int(signal.SIGSEGV))),
        ("kill -KILL $$", Exit("signal", None, int(signal.SIGKILL))),
    ):
        with sandbox.start(shell(script)) as running:
            assert finish(running) == ending


def kill_is_idempotent_and_keeps_the_first_cause(sandbox: Sandbox) -> None:
    with sandbox.start(shell("sleep 60")) as running:
        assert running.wait(timeout=0.05) is None
        first = running.kill()
        assert first.cause == "killed"
        assert running.kill() == running.kill() == running.wait(timeout=0) == first
    with sandbox.start(shell("exit 7")) as running:
        assert finish(running) == running.kill() == Exit("exited", 7)


def several_threads_may_kill_at_once(sandbox: Sandbox) -> None:
    running = sandbox.start(shell("sleep 60"))
    with ThreadPoolExecutor(8) as pool:
        assert {ending.cause for ending in pool.map(lambda _: running.kill(), range(8))} == {"killed"}


def a_job_that_cannot_be_started_is_an_error_that_says_why(sandbox: Sandbox) -> None:
    for job, word in (
        (Job(("relative",)), "absolute"),
        (Job(()), "absolute"),
        (Job(("/bin/true",), mounts=(Mount(Path("/no/such/input"), PurePosixPath("/in")),)), "/no/such/input"),
        (Job(("/bin/true",), mounts=(Mount(Path("/usr"), PurePosixPath("/etc/x")),)), "/etc/x"),
        (Job(("/bin/true",), mounts=(Mount(Path("/usr"), PurePosixPath("/in/../etc")),)), "/in/../etc"),
        (Job(("/bin/true",), mounts=(Mount(Path("/usr"), PurePosixPath("/in\0--bind")),)), "zero byte"),
        (Job(("/bin/true",), env={"A=B": "c"}), "A=B"),
        (Job(("/bin/true", "a\0b")), "zero byte"),
        (Job(("/bin/true",), mounts=_IMPOSSIBLE), "start the job"),
    ):
        with refused(SandboxError, saying=word):
            sandbox.start(job).kill()


def a_program_that_is_not_there_is_the_jobs_own_failure(sandbox: Sandbox) -> None:
    with sandbox.start(Job(("/no/such/program",))) as running:
        assert finish(running) == Exit("exited", 127)
        assert b"/no/such/program" in running.log()[0]


def nothing_outlives_the_jobs_main_process(sandbox: Sandbox) -> None:
    marker = secrets.token_hex(8)
    script = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 3)
        time.sleep(300)
    os._exit(0)
os.wait()
"""
    with sandbox.start(python(script, marker)) as running:
        assert finish(running) == Exit("exited", 0)
        assert processes_with(marker) == []


def a_job_outlives_the_thread_that_started_it(sandbox: Sandbox) -> None:
    started: list[Running] = []
    thread = threading.Thread(target=lambda: started.append(sandbox.start(Job(("/bin/cat",)))))
    thread.start()
    thread.join()
    time.sleep(0.3)
    with started[0] as running:
        running.stream.send(b"alive", timeout=5)
        assert running.stream.receive(5, timeout=5) == b"alive"


def many_jobs_run_side_by_side(sandbox: Sandbox) -> None:
    def echo(number: int) -> bool:
        with sandbox.start(Job(("/bin/cat",))) as running:
            message = bytes([number]) * 100_000
            sender = threading.Thread(target=running.stream.send, args=(message,), kwargs={"timeout": PATIENCE})
            sender.start()
            received = running.stream.receive(len(message), timeout=PATIENCE)
            sender.join()
            return bytes(received) == message

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(echo, range(16)))


def nothing_is_left_behind(sandbox: Sandbox) -> None:
    _one_of_each_ending(sandbox)
    gc.collect()
    before = traces()
    for _ in range(3):
        _one_of_each_ending(sandbox)
    gc.collect()
    soon(lambda: traces() == before, f"traces are as before: {before}; now {traces()}")


def the_job_dies_with_a_killed_parent(sandbox: Sandbox) -> None:
    marker = secrets.token_hex(8)
    script = f"""
import os, sys
sys.path[:0] = {[str(Path(folder).resolve()) for folder in sys.path if folder]!r}
from sandbox import Job, open_sandbox
running = open_sandbox({sandbox.name!r}).start(Job(("/bin/sh", "-c",
    "trap '' TERM HUP; (setsid sh -c 'sleep 300; : {marker}' &); sleep 300; : {marker}")))
print("started", flush=True)
running.wait(timeout=300)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        soon(lambda: len(processes_with(marker, apart_from=parent.pid)) >= 2, "the job and its child run")
    finally:
        parent.kill()
        parent.communicate()
    soon(lambda: processes_with(marker) == [], "the job and its child are gone")


# The second is below the first, which is a file: found out only when nearly everything is in place.
_IMPOSSIBLE = (Mount(Path("/usr/bin/env"), PurePosixPath("/f")), Mount(Path("/usr/bin"), PurePosixPath("/f/x")))


def _one_of_each_ending(sandbox: Sandbox) -> None:
    with sandbox.start(shell("exit 3")) as running:
        finish(running)
    with sandbox.start(shell("sleep 60")) as running:
        running.kill()
    with sandbox.start(shell("sleep 60", limits=Limits(seconds=0.2))) as running:
        assert finish(running).cause == "deadline"
    with sandbox.start(shell("(sleep 60 &); (setsid sleep 60 &); sleep 60")):
        pass
    with refused(SandboxError):
        sandbox.start(Job(("/bin/true",), mounts=_IMPOSSIBLE))
