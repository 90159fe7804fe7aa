"""The bounds on memory, processes, CPU, time, files."""

from __future__ import annotations

import os
import secrets
import time

from sandbox import Exit, Job, Limits, Sandbox, SandboxError
from tests.sandbox.conformance.support import finish, full, processes_with, python, refused, said, shell, soon

_SLACK = 2.0


def a_memory_bomb_over_several_processes_ends_the_whole_job(sandbox: Sandbox) -> None:
    marker = secrets.token_hex(8)
    script = """
import os, sys, time
for _ in range(6):
    if os.fork() == 0:
        hoard = []
        for _ in range(60):
            hoard.append(os.urandom(1 << 20)); time.sleep(0.005)
        time.sleep(60)
time.sleep(60)
"""
    with sandbox.start(python(script, marker, limits=Limits(memory_mb=200, seconds=40))) as running:
        assert finish(running).cause == "memory"
    assert processes_with(marker) == []


def one_process_cannot_have_more_memory_than_the_limit(sandbox: Sandbox) -> None:
    script = """
import sys
hoard = []
try:
    for _ in range(1000):
        hoard.append(bytearray(b"x" * (1 << 20)))
except MemoryError:
    sys.exit(42)
sys.exit(0)
"""
    with sandbox.start(python(script, limits=Limits(memory_mb=100, seconds=40))) as running:
        ending = finish(running)
    assert ending.cause == "memory" or (ending == Exit("exited", 42) and not full(sandbox, "memory")), ending


def memory_below_the_limit_is_there(sandbox: Sandbox) -> None:
    assert (
        said(sandbox, python("x = bytearray(150 << 20); x[::4096] = b'x' * (len(x) // 4096)", limits=Limits(memory_mb=256)))
        == ""
    )


def a_fork_bomb_is_bounded_and_gone_afterwards(sandbox: Sandbox) -> None:
    marker = secrets.token_hex(8)
    script = """
import os, sys, time
def bomb():
    while True:
        try: os.fork()
        except OSError: time.sleep(0.01)
bomb()
"""
    with sandbox.start(python(script, marker, limits=Limits(processes=20, seconds=30))) as running:
        soon(lambda: len(processes_with(marker)) >= 18, "the bomb reaches its bound")
        time.sleep(0.5)
        # bubblewrap's own two processes, or the engine's init, carry the job's command line as well.
        assert len(processes_with(marker)) <= 24
        assert running.kill().cause == "killed"
    assert processes_with(marker) == []


def threads_count_as_processes(sandbox: Sandbox) -> None:
    script = """
import sys, threading, time
started = 0
try:
    for _ in range(100):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); started += 1
except RuntimeError:
    pass
print(started, file=sys.stderr)
sys.stderr.flush()
import os; os._exit(0)
"""
    assert 10 <= int(said(sandbox, python(script, limits=Limits(processes=16)))) <= 16


def the_deadline_ends_the_job_and_all_that_it_started(sandbox: Sandbox) -> None:
    marker = secrets.token_hex(8)
    script = f"trap '' TERM INT HUP; (setsid sh -c 'sleep 300; : {marker}' &) ; while :; do sleep 1; : {marker}; done"
    with sandbox.start(shell(script, limits=Limits(seconds=1.0))) as running:
        before = time.monotonic()
        assert finish(running).cause == "deadline"
        assert 0.5 < time.monotonic() - before < 1.0 + _SLACK
    assert processes_with(marker) == []


def an_endless_loop_ends_at_the_deadline(sandbox: Sandbox) -> None:
    with sandbox.start(python("while True: pass", limits=Limits(seconds=0.5))) as running:
        before = time.monotonic()
        assert finish(running).cause == "deadline"
        assert time.monotonic() - before < 0.5 + _SLACK


def the_share_of_cpu_is_bounded(sandbox: Sandbox) -> None:
    script = """
import os, sys, time
ends = time.monotonic() + 1.5
children = []
for _ in range(2):
    child = os.fork()
    if child == 0:
        while time.monotonic() < ends: pass
        os._exit(0)
    children.append(child)
for child in children: os.waitpid(child, 0)
print(sum(os.times()[:4]), file=sys.stderr)
"""
    used = float(said(sandbox, python(script, limits=Limits(cpus=0.5))))
    assert used < (1.2 if full(sandbox, "cpus") else 2.0), f"{used} s of CPU in 1.5 s at half a core"


def the_cores_given_cannot_be_exchanged_for_others(sandbox: Sandbox) -> None:
    script = """
import os, sys
try:
    os.sched_setaffinity(0, range(os.cpu_count()))
    print("could", file=sys.stderr)
except OSError: pass
"""
    assert said(sandbox, python(script)) == ""


def temporary_folders_are_bounded(sandbox: Sandbox) -> None:
    script = """
import os, sys
def fill(folder):
    written = 0
    try:
        for number in range(64):
            with open(f"{folder}/{number}", "wb", buffering=0) as file:
                written += file.write(bytes(1 << 20))
    except OSError: pass
    return written
print(fill("/tmp"), fill("/dev/shm"), file=sys.stderr)
"""
    tmp, shm = map(int, said(sandbox, python(script, limits=Limits(tmp_mb=8, shm_mb=4, file_mb=64))).split())
    assert 6 << 20 <= tmp <= 8 << 20
    assert 3 << 20 <= shm <= 4 << 20


def one_file_is_bounded(sandbox: Sandbox) -> None:
    script = """
import signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
written = 0
try:
    with open("/tmp/big", "wb", buffering=0) as file:
        for _ in range(16): written += file.write(bytes(1 << 20))
except OSError: pass
print(written, file=sys.stderr)
"""
    assert int(said(sandbox, python(script, limits=Limits(file_mb=2)))) == 2 << 20


def open_files_are_bounded(sandbox: Sandbox) -> None:
    script = """
import sys
held = []
try:
    for _ in range(1000): held.append(open("/dev/null"))
except OSError: pass
print(len(held), file=sys.stderr)
"""
    assert int(said(sandbox, python(script, limits=Limits(open_files=50)))) < 50


def rlimits_cannot_be_raised(sandbox: Sandbox) -> None:
    script = """
import resource, sys
for name in ("RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_MEMLOCK"):
    try:
        resource.setrlimit(getattr(resource, name), (1 << 40, 1 << 40))
        print("could", name, file=sys.stderr)
    except (OSError, ValueError): pass
"""
    assert said(sandbox, python(script)) == ""


def a_promise_that_is_not_fully_kept_is_refused(sandbox: Sandbox) -> None:
    kept = sandbox.capabilities().promises
    wanted = ["teleportation", *(name for name in kept if not full(sandbox, name))]
    for promise in wanted:
        with refused(SandboxError, saying=promise):
            sandbox.start(Job(("/bin/true",), required=("network", promise))).kill()
    kept_fully = tuple(name for name in kept if full(sandbox, name))
    with sandbox.start(Job(("/bin/true",), required=kept_fully)) as running:
        assert finish(running) == Exit("exited", 0)


def what_cannot_be_kept_is_explained(sandbox: Sandbox) -> None:
    capabilities = sandbox.capabilities()
    assert capabilities.available
    for promise in ("filesystem", "network", "pids", "memory", "processes", "cpus", "landlock"):
        assert full(sandbox, promise) or any(promise in note for note in capabilities.notes)
    if os.geteuid() == 0:
        assert set(capabilities.missing(tuple(capabilities.promises))) <= {"landlock"}
