"""The launcher alone holds the engine's socket, and no client can make it start anything but its template."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from sandbox import Capabilities, Enforcement, Job, Limits, Mount, SandboxError, SandboxUnavailable
from sandbox.docker.image import base_image
from sandbox.docker.sandbox import OWNER_LABEL, DockerSettings, connect
from sandbox.launcher.client import SCRATCH, SOCKET, LauncherSandbox
from sandbox.launcher.protocol import LINE_BYTES, Template, ask_start, checked, decode, encode
from sandbox.launcher.server import LauncherSettings
from sandbox.owner import Owner, boot_id
from sandbox.probe import PROMISES
from tests.sandbox.conformance.support import PYTHON, dead_owner, finish, soon
from tests.sandbox.engine import owned_containers, reachable_engine

ROOT = Path(__file__).resolve().parents[3]
TARGET = PurePosixPath("/submission")
PROGRAM = """
import os, sys
print(open(sys.argv[1] + "/file").read(), os.environ.get("OMP_NUM_THREADS"), os.environ.get("SECRET"), flush=True)
for line in sys.stdin:
    if line == "hoard\\n":
        x = [bytearray(b"x" * (1 << 20)) for _ in range(500)]
    print("again", flush=True)
"""


@dataclass(frozen=True)
class Place:
    """The launcher's folders, with one submission."""

    root: Path

    @property
    def template(self) -> Template:
        return Template(
            PYTHON,
            {"teller": TARGET},
            self.root / "inputs",
            self.root / "scratch",
            Limits(memory_mb=256, seconds=60),
            (Mount(self.root / "packages", PurePosixPath("/app")),),
            {"PYTHONPATH": "/app"},
        )

    @property
    def submission(self) -> Path:
        return self.root / "inputs" / "one" / "submission"

    def request(self, **changed: Any) -> dict[str, Any]:
        pipes = next((self.root / "scratch").iterdir())
        return ask_start("teller", self.submission, pipes, 1, Limits(memory_mb=256, seconds=60)) | changed


@pytest.fixture
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="launcher-") as name:  # a socket's path is short
        made = Place(Path(name))
        made.root.chmod(0o755)
        made.submission.mkdir(parents=True)
        (made.submission / "file").write_text("mine")
        (made.root / "packages").mkdir()
        (made.root / "packages" / "teller.py").write_text(PROGRAM)
        (made.root / "scratch" / f"sandbox-{Owner.current()}-abcdefgh").mkdir(parents=True)
        for path in made.root.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield made


def test_a_right_request_becomes_the_templates_job(place: Place) -> None:
    start = checked(place.request(), place.template)
    assert start.job.argv == (PYTHON, "-m", "teller", "/submission")
    assert start.job.mounts == (*place.template.mounts, Mount(place.submission.resolve(), TARGET))
    assert start.job.env == {"PYTHONPATH": "/app", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("module", "os"),
        ("module", ["teller"]),
        ("folder", "/"),
        ("folder", "/etc"),
        ("folder", "{inputs}"),
        ("folder", "{inputs}/../packages"),
        ("folder", "{inputs}/link"),
        ("folder", "{inputs}/one/submission/file"),
        ("folder", "{inputs}/none"),
        ("folder", "a\0b"),
        ("pipes", ".."),
        ("pipes", "../inputs"),
        ("pipes", "sandbox-1-2-3-abcdefgi"),
        ("threads", 0),
        ("threads", "1; rm"),
        ("threads", True),
        ("limits", {}),
        ("limits", {"memory_mb": 10**9}),
        ("limits", {"seconds": float("inf")}),
        ("limits", {"seconds": float("nan")}),
        ("limits", {"seconds": -1}),
        ("limits", {"processes": 0}),
        ("limits", {"processes": 1.5}),
        ("limits", {"memory_mb": "256"}),
        ("limits", {"privileged": True}),
        ("network", "host"),
        ("mounts", ["/:/host"]),
        ("env", {"LD_PRELOAD": "x"}),
        ("image", "other"),
    ],
    ids=str,
)
def test_nothing_but_the_template_can_be_asked_for(place: Place, name: str, value: Any) -> None:
    (place.root / "inputs" / "link").symlink_to("/etc")
    if isinstance(value, str):
        value = value.replace("{inputs}", str(place.root / "inputs"))
    if name == "limits" and value:
        value = asdict(Limits(memory_mb=256, seconds=60)) | value
    with pytest.raises(SandboxError):
        checked(place.request(**{name: value}), place.template)


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]\n", b"nonsense\n", b"[" * 5000 + b"\n", b'{"a": "' + b"x" * LINE_BYTES + b'"}\n']
)
def test_a_line_that_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(SandboxError):
        decode(line)


def test_settings_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "launcher.toml").write_text('python = "/usr/bin/python3"\n')
    with pytest.raises(SandboxError, match=r"launcher.toml .*programs"):
        LauncherSettings.read(tmp_path / "launcher.toml")


def test_without_a_launcher_the_error_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SOCKET, raising=False)
    sandbox = LauncherSandbox()
    assert not sandbox.ready()
    with pytest.raises(SandboxError, match=f"set {SOCKET}"):
        sandbox.start(Job((PYTHON, "-m", "teller", "/submission")))


@pytest.fixture
def launcher(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A launcher of its own process; this one has no way to the engine but through it."""
    reachable_engine()
    (place.root / "engine").symlink_to(DockerSettings().socket())
    with launched(place, monkeypatch) as process:
        yield process


@contextlib.contextmanager
def launched(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    listen = place.root / "socket"
    (place.root / "launcher.toml").write_text(
        f'python = "{PYTHON}"\nlisten = "{listen}"\ninputs = "{place.root}/inputs"\nscratch = "{place.root}/scratch"\n'
        f'[programs]\nteller = "{TARGET}"\n[ceilings]\nmemory_mb = 256\nseconds = 60.0\n[env]\nPYTHONPATH = "/app"\n'
        f'[[mounts]]\nsource = "{place.root}/packages"\ntarget = "/app"\n'
        f'[engine]\nhost = "unix://{place.root}/engine"\n'
    )
    command = [sys.executable, "-m", "sandbox.launcher", str(place.root / "launcher.toml")]
    with subprocess.Popen(command, cwd=ROOT) as process:
        soon(listen.exists, "the launcher listens")
        monkeypatch.setenv(SOCKET, str(listen))
        monkeypatch.setenv(SCRATCH, str(place.root / "scratch"))
        yield process
        process.kill()


def containers(launcher: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    return owned_containers(f"-{launcher.pid}-")


def job(place: Place, **limits: Any) -> Job:
    """As the platform makes it: interpreter, packages and environment are the launcher's all the same."""
    env = {"OMP_NUM_THREADS": "2", "SECRET": "x"}
    told = Limits(**{"memory_mb": 256, "seconds": 60.0, **limits})
    return Job(("/elsewhere/python", "-m", "teller", str(TARGET)), (Mount(place.submission, TARGET),), env, told)


def line(stream: Any) -> str:
    text = bytearray()
    while not text.endswith(b"\n"):
        text += stream.receive(1, timeout=20)
    return text.decode().strip()


@pytest.mark.docker
def test_a_job_runs_through_the_launcher_with_its_limits(place: Place, launcher: subprocess.Popen[bytes]) -> None:
    sandbox = LauncherSandbox()
    assert sandbox.capabilities().missing(("network", "filesystem", "memory", "processes", "cpus")) == ()
    assert stat.S_IMODE((place.root / "socket").stat().st_mode) == 0o660
    with sandbox.start(job(place)) as running:
        assert line(running.stream) == "mine 2 None"
        assert len(containers(launcher)) == 1
        assert running.kill().cause == "killed"
    assert containers(launcher) == []
    with sandbox.start(job(place, memory_mb=64)) as running:
        line(running.stream)
        running.stream.send(b"hoard\n", timeout=5)
        assert finish(running).cause == "memory"
    with sandbox.start(job(place, seconds=1.0)) as running:
        assert finish(running).cause == "deadline"
    with sandbox.start(job(place)) as running:
        line(running.stream)
        running.stream.send(b"x\n", timeout=5)
        assert line(running.stream) == "again"
    assert containers(launcher) == []


@pytest.mark.docker
def test_jobs_beyond_the_ceilings_are_refused_and_nothing_is_made(place: Place, launcher: subprocess.Popen[bytes]) -> None:
    with pytest.raises(SandboxError, match="memory_mb is at most 256"):
        LauncherSandbox().start(job(place, memory_mb=4096))
    with pytest.raises(SandboxError, match="form PYTHON -m MODULE TARGET"):
        LauncherSandbox().start(Job(("/bin/sh", "-c", "true")))
    assert containers(launcher) == []


@pytest.mark.docker
def test_what_is_no_request_is_answered_and_harms_nobody(place: Place, launcher: subprocess.Popen[bytes]) -> None:
    for said in (
        b"\n",
        b"{}\n",
        b'{"ask": "exec"}\n',
        b'{"ask": "poll", "timeout": "x"}\n',
        b'{"ask": "start"}\n',
        b"x" * 20000,
    ):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(place.root / "socket"))
            client.sendall(said)
            assert "error" in json.loads(client.makefile("rb").readline())
    assert LauncherSandbox().ready()


@pytest.mark.docker
def test_while_the_engine_is_away_the_launcher_is_not_ready(place: Place, launcher: subprocess.Popen[bytes]) -> None:
    assert LauncherSandbox().ready()
    engine = (place.root / "engine").readlink()
    (place.root / "engine").unlink()
    assert not LauncherSandbox().ready()
    with pytest.raises(SandboxUnavailable):
        LauncherSandbox().start(job(place))
    (place.root / "engine").symlink_to(engine)
    assert LauncherSandbox().ready()


@pytest.mark.docker
def test_a_launcher_that_starts_before_its_engine_is_ready_once_that_is_there(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    reachable_engine()
    with launched(place, monkeypatch):
        assert not LauncherSandbox().ready()
        (place.root / "engine").symlink_to(DockerSettings().socket())
        soon(lambda: LauncherSandbox().ready(), "the launcher is ready")


@pytest.mark.docker
def test_a_container_that_the_engine_made_only_after_its_maker_died_goes(launcher: subprocess.Popen[bytes]) -> None:
    api = connect(DockerSettings())
    time.sleep(2)  # by now the launcher has looked once
    owner = dead_owner()
    api.create_container(base_image(api), command=["/bin/true"], labels={OWNER_LABEL: f"{boot_id()}/{owner}"})
    soon(lambda: owned_containers(owner) == [], "the container is gone", seconds=30)


def test_a_launcher_that_dies_while_a_job_starts_is_noticed_soon(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SOCKET, str(place.root / "socket"))
    monkeypatch.setenv(SCRATCH, str(place.root / "scratch"))
    able = Capabilities("docker", available=True, promises=dict.fromkeys(PROMISES, Enforcement.FULL))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place.root / "socket"))
        listening.listen()
        dying = threading.Thread(target=answer_and_close, args=(listening, (asdict(able), None)), daemon=True)
        dying.start()
        begun = time.monotonic()
        with pytest.raises(SandboxUnavailable):
            LauncherSandbox().start(job(place))
        dying.join()
    assert time.monotonic() - begun < 10
    assert [folder.name[-8:] for folder in (place.root / "scratch").iterdir()] == ["abcdefgh"], "its pipes are gone"


def answer_and_close(listening: socket.socket, answers: tuple[Any, ...]) -> None:
    """Each connection gets the next answer to its one request."""
    for answer in answers:
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as asked:
            asked.readline()
            connection.sendall(encode({"answer": answer}))


@pytest.mark.docker
def test_a_job_ends_with_a_killed_client(place: Place, launcher: subprocess.Popen[bytes]) -> None:
    script = f"""
import os, signal
from pathlib import Path, PurePosixPath
from sandbox import Capabilities, Enforcement, Job, Mount
from sandbox.launcher.client import LauncherSandbox
from sandbox.base import Limits
LauncherSandbox().start(Job(("p", "-m", "teller", "/submission"), (Mount(Path({str(place.submission)!r}),
    PurePosixPath("/submission")),), limits=Limits(memory_mb=256, seconds=60.0)))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == -signal.SIGKILL
    soon(lambda: containers(launcher) == [], "the container is gone")


@pytest.mark.docker
def test_jobs_end_with_a_killed_launcher_which_is_no_fault_of_theirs(place: Place, launcher: subprocess.Popen[bytes]) -> None:
    running = LauncherSandbox().start(job(place))
    line(running.stream)
    launcher.kill()
    with pytest.raises(SandboxUnavailable):
        finish(running)
    with pytest.raises(SandboxUnavailable):
        running.kill()
    soon(lambda: containers(launcher) == [], "its guardian has removed the container")
    assert not LauncherSandbox().ready()
