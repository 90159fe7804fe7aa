"""An owner in another pid namespace, as in another container, is known by its lock: its folders stay until it has ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.owner import Owner
from sandbox.scratch import OwnedFolder, remove_leftovers

_ROOT = Path(__file__).resolve().parents[2]
_HOLDS_ONE = """
import sys
from pathlib import Path
from sandbox.scratch import OwnedFolder
folder = OwnedFolder("redoubt-work-", Path(sys.argv[1]))
(folder.path / "weights").touch()
print(folder.path, flush=True)
sys.stdin.read()
"""
_MAKES_MANY = """
import sys
from pathlib import Path
from sandbox.scratch import OwnedFolder
print("begun", flush=True)
for _ in range(1000):
    folder = OwnedFolder("redoubt-work-", Path(sys.argv[1]))
    (folder.path / "weights").touch()
    folder.remove()
"""


@contextlib.contextmanager
def elsewhere(script: str, place: Path) -> Iterator[subprocess.Popen[str]]:
    """A Python process that is the first of a pid namespace of its own, and ends with its parent `unshare`."""
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", *user, "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-c", script, str(place)]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_folder_of_another_namespace_stays_until_its_owner_was_killed(tmp_path: Path) -> None:
    with elsewhere(_HOLDS_ONE, tmp_path) as owner:
        folder = Path(said(owner))
        named = Owner.parse(folder.name.removeprefix("redoubt-work-").rpartition("-")[0])
        assert named is not None
        assert not named.is_near()
        assert remove_leftovers(tmp_path) == []
        assert (folder / "weights").exists()
        owner.kill()
        said(owner)  # its end closes the pipe
    assert remove_leftovers(tmp_path) == [folder]
    assert list(tmp_path.iterdir()) == []


def test_no_folder_is_taken_from_a_living_owner_even_while_it_is_being_made(tmp_path: Path) -> None:
    with elsewhere(_MAKES_MANY, tmp_path) as owner:
        assert said(owner) == "begun"
        while owner.poll() is None:
            # What a sweep takes is a folder that its maker had not locked yet, and then made anew.
            remove_leftovers(tmp_path)
        assert owner.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_a_sweep_took_before_it_was_locked_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, taken = tempfile.mkdtemp, list[Path]()

    def take(folder: Path, lock: int) -> None:
        folder.rmdir()
        os.close(lock)

    def make_and_lose(prefix: str, dir: Path) -> str:
        made = make(prefix=prefix, dir=dir)
        if not taken:
            taken.append(Path(made))
            lock = os.open(made, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            threading.Timer(0.3, take, (taken[0], lock)).start()
        return made

    monkeypatch.setattr(tempfile, "mkdtemp", make_and_lose)
    folder = OwnedFolder("redoubt-work-", tmp_path)
    assert taken != [folder.path]
    assert list(tmp_path.iterdir()) == [folder.path]
    folder.remove()


def test_a_folder_is_given_up_only_once_it_is_removed(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    folder = OwnedFolder("redoubt-work-", tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 1
    folder.remove()
    folder.remove(ignore_errors=True)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    with pytest.raises(FileNotFoundError):
        folder.remove()
