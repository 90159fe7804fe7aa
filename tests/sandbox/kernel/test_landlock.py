"""The third layer by itself, without mounts, namespaces or seccomp: what the kernel refuses a process that confined itself."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sandbox import Enforcement, Exit, Job, Running, SandboxError, launch
from sandbox.bubblewrap.sandbox import BubblewrapSandbox
from sandbox.kernel import landlock
from sandbox.probe import measure
from tests.needs import LANDLOCK

ROOT = Path(landlock.__file__).parents[2]
_BEFORE = """
import os, shutil, signal, socket, subprocess, sys, tempfile
from sandbox.kernel.landlock import confine
server = socket.create_server(("127.0.0.1", 0))
abstract = socket.socket(socket.AF_UNIX)
helper = subprocess.Popen([sys.executable, "-c",
    "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(chr(0) + 'landlock-test'); s.listen();"
    "print('up', flush=True); sys.stdin.read()"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
helper.stdout.readline()
assert confine()
def tried(what):
    try:
        what()
        return "could"
    except (PermissionError, BlockingIOError):
        return "refused"
def written():
    with tempfile.TemporaryDirectory() as folder:
        open(folder + "/x", "w").write("data")
        os.truncate(folder + "/x", 1)
        os.rename(folder + "/x", folder + "/y")
def executed():
    program = shutil.copy("/usr/bin/true", tempfile.gettempdir() + f"/landlock-{os.getpid()}")
    try:
        os.chmod(program, 0o755)
        subprocess.run([program], check=True)
    finally:
        os.unlink(program)
"""
_TRIES = {
    "open(sys.argv[1], 'a')": "refused",
    "open(sys.argv[1]).read()": "could",
    "os.unlink(sys.argv[1])": "refused",
    "os.truncate(sys.argv[1], 0)": "refused",
    "executed()": "refused",
    "socket.create_connection(server.getsockname())": "refused",
    "socket.socket().bind(('127.0.0.1', 0))": "refused",
    "abstract.connect(chr(0) + 'landlock-test')": "refused",
    "os.kill(helper.pid, 0)": "refused",
    "written()": "could",
    "open('/dev/null', 'w')": "could",
    "subprocess.run(['/usr/bin/true'], check=True)": "could",
}
needs_landlock = LANDLOCK.unless(BubblewrapSandbox().capabilities().promises["landlock"] is Enforcement.FULL)


@needs_landlock
@pytest.mark.parametrize("what", _TRIES)
def test_a_confined_process_keeps_only_what_a_job_needs(what: str) -> None:
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as file:  # not in /tmp, where a job may write
        script = f"{_BEFORE}\nprint(tried(lambda: {what}))\nhelper.stdin.close()"
        done = subprocess.run([sys.executable, "-c", script, file.name], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.stdout.strip() == _TRIES[what], done.stderr


def test_a_job_that_demands_landlock_is_refused_where_it_does_not_hold() -> None:
    demanding = Job(("/bin/true",), required=("landlock",))
    launch.demand_confined(demanding, confined=True)
    launch.demand_confined(Job(("/bin/true",)), confined=False)
    with pytest.raises(SandboxError, match="demands landlock"):
        launch.demand_confined(demanding, confined=False)


def test_where_it_does_not_hold_that_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    # As on a system without the interpreter that confines: the job runs, and says that it is not confined.
    monkeypatch.setattr(launch, "_BECOME", launch._BECOME.replace("/usr/bin/python3", "/nowhere/python3"))

    def start(job: Job) -> Running:
        return BubblewrapSandbox().start(job)

    found = measure("bubblewrap", start, memory_of_tree=True, cpus=Enforcement.FULL)
    assert found.available
    assert found.missing(("landlock",)) == ("landlock",)
    assert any("landlock is not enforced here" in note for note in found.notes)
    with pytest.raises(SandboxError, match="demands landlock"):
        launch.demand(found, Job(("/bin/true",), required=("landlock",)))
    with pytest.raises(SandboxError, match="demands landlock"):
        start(Job(("/bin/true",), required=("landlock",))).kill()
    with start(Job(("/bin/true",))) as running:
        assert running.wait(timeout=20) == Exit("exited", 0)
