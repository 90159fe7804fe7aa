"""What crashed processes left behind is removed; what belongs to the living is not touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sandbox import Job
from sandbox.bubblewrap.sandbox import BubblewrapSandbox
from sandbox.docker.sandbox import OWNER_LABEL, DockerSandbox, DockerSettings, connect
from sandbox.kernel import cgroups
from sandbox.launcher.client import SCRATCH
from sandbox.owner import Owner, boot_id
from sandbox.scratch import owned_folder, remove_leftovers
from sandbox.sweeping import sweep
from tests.needs import CGROUPS
from tests.sandbox.conformance.support import dead_owner, processes_with, soon
from tests.sandbox.engine import reachable_engine


@pytest.fixture
def dead() -> Owner:
    return dead_owner()


@pytest.fixture
def engine() -> DockerSandbox:
    return reachable_engine()


def _root() -> Path:
    return Path(cgroups.__file__).parents[2]


def test_an_owner_is_alive_while_it_runs_and_dead_afterwards(dead: Owner) -> None:
    assert not Owner.current().is_dead()
    assert dead.is_dead()
    assert Owner.parse(str(Owner.current())) == Owner.current()


def test_a_later_process_of_the_same_number_is_another_owner() -> None:
    mine = Owner.current()
    assert Owner(mine.namespace, mine.pid, mine.started - 1).is_dead()


def test_an_owner_in_another_pid_namespace_counts_as_alive(dead: Owner) -> None:
    assert not Owner(dead.namespace + 1, dead.pid, dead.started).is_dead()


def test_a_text_that_names_no_owner_is_none() -> None:
    assert Owner.parse("4026531836-12") is None


@CGROUPS.unless(cgroups.parents())
def test_control_groups_of_the_dead_go_with_all_their_processes(dead: Owner) -> None:
    places = dict.fromkeys(parent.path for parent in cgroups.parents().values())
    # Not where this process would put its own: the dead one was started elsewhere.
    elsewhere = [place / f"elsewhere-{os.getpid()}" for place in places]
    directories = [place / f"sandbox-{dead}-0badcafe" for place in elsewhere]
    sleeper = subprocess.Popen(["sleep", "300"])
    try:
        for directory in directories:
            directory.mkdir(parents=True)
            (directory / "cgroup.procs").write_text(str(sleeper.pid))
        assert len(sweep()) >= len(directories)
        assert sleeper.wait(timeout=5) == -signal.SIGKILL
        assert not any(directory.exists() for directory in directories)
    finally:
        sleeper.kill()
        sleeper.wait()
        for place in elsewhere:
            place.rmdir()


def test_a_group_that_is_no_jobs_is_never_emptied() -> None:
    for directory in (
        Path("/sys/fs/cgroup"),
        Path("/sys/fs/cgroup/sandbox-"),
        Path("/sys/fs/cgroup/sandbox-1-2-cafe"),
        Path("/"),
    ):
        with pytest.raises(ValueError, match="not the group of a job"):
            cgroups.remove_leftover(directory)


def test_folders_of_the_dead_go(dead: Owner) -> None:
    folders = [Path(tempfile.mkdtemp(prefix=f"{prefix}{dead}-")) for prefix in ("sandbox-", "redoubt-work-")]
    os.mkfifo(folders[0] / "in")
    (folders[1] / "submission").mkdir()
    assert {f"folder {folder}" for folder in folders} <= set(sweep())
    assert not any(folder.exists() for folder in folders)


def test_pipes_that_a_dead_client_of_the_launcher_made_go(dead: Owner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipes = tmp_path / f"sandbox-{dead}-abcdefgh"
    pipes.mkdir()
    monkeypatch.setenv(SCRATCH, str(tmp_path))
    assert f"folder {pipes}" in sweep()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_a_killed_process_worked_in_goes() -> None:
    script = """
import os, signal
from sandbox.scratch import owned_folder
with owned_folder("redoubt-work-") as folder:
    (folder / "weights").touch()
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=_root())
    folder = Path(killed.stdout.strip())
    assert (folder / "weights").exists()
    assert f"folder {folder}" in sweep()
    assert not folder.exists()


def test_folders_of_the_living_and_of_strangers_stay(dead: Owner, tmp_path: Path) -> None:
    (tmp_path / f"redoubt-work-{dead}-a-file-1").touch()
    (tmp_path / f"redoubt-work-{dead}-abcdefgh").symlink_to(tmp_path)
    (tmp_path / "redoubt-tests").mkdir()
    with owned_folder("redoubt-work-") as mine:
        (mine / "weights").touch()
        assert not [line for line in sweep() if str(mine) in line]
        assert (mine / "weights").exists()
    assert not mine.exists()
    assert remove_leftovers(tmp_path) == []


def test_jobs_of_the_living_run_on() -> None:
    with BubblewrapSandbox().start(Job(("/bin/cat",))) as running:
        sweep()
        running.stream.send(b"alive", timeout=5)
        assert running.stream.receive(5, timeout=5) == b"alive"


@pytest.mark.docker
def test_containers_of_the_living_run_on(engine: DockerSandbox) -> None:
    with engine.start(Job(("/bin/cat",))) as running:
        assert not [line for line in sweep(DockerSettings()) if "container" in line]
        running.stream.send(b"alive", timeout=5)
        assert running.stream.receive(5, timeout=5) == b"alive"


@pytest.mark.docker
@pytest.mark.parametrize("boot", ["this boot", "an earlier boot"])
def test_containers_of_the_dead_go(engine: DockerSandbox, dead: Owner, boot: str) -> None:
    api = connect(DockerSettings())
    owner = f"{boot_id()}/{dead}" if boot == "this boot" else f"earlier/{Owner.current()}"
    with engine.start(Job(("/bin/true",))):
        image = api.containers(all=True)[0]["Image"]
    made = api.create_container(image, command=["/bin/true"], labels={OWNER_LABEL: owner})["Id"]
    assert f"container {made[:12]}" in sweep(DockerSettings())
    assert made not in [container["Id"] for container in api.containers(all=True)]


@pytest.mark.docker
def test_a_container_whose_guardian_was_killed_as_well_is_removed_by_the_sweep(engine: DockerSandbox) -> None:
    marker = f"orphan-{os.getpid()}"
    script = f"""
import os, signal
from sandbox import Job, open_sandbox
from sandbox.docker import guardian as docker_guardian
running = open_sandbox("docker").start(Job(("/bin/sh", "-c", "sleep 300; : {marker}")))
for guardian in docker_guardian._guardians.values():
    guardian.kill()
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], cwd=_root()).returncode == -signal.SIGKILL
    assert processes_with(marker)
    assert any(line.startswith("container") for line in sweep(DockerSettings()))
    soon(lambda: not processes_with(marker), "the orphan is gone")


def test_a_job_of_a_program_that_forgot_to_end_it_goes_with_the_program() -> None:
    marker = f"forgotten-{os.getpid()}"
    script = f"""
from sandbox import Job, open_sandbox
running = open_sandbox("bubblewrap").start(Job(("/bin/sh", "-c", "sleep 300; : {marker}")))
"""
    done = subprocess.run([sys.executable, "-X", "dev", "-c", script], cwd=_root(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert processes_with(marker) == []
    assert not [line for line in sweep() if "control group" in line]
