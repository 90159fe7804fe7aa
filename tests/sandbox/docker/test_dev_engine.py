"""deploy/dev/docker-engine cleans up after an engine that was killed, without one of its own running here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import SUPERUSER

SCRIPT = Path(__file__).resolve().parents[3] / "deploy/dev/docker-engine"

pytestmark = SUPERUSER.unless(os.geteuid() == 0)  # only root can mount


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A folder of an engine that left a mount behind."""
    left = tmp_path / "exec"
    left.mkdir()
    subprocess.run(["mount", "--bind", left, left], check=True)
    yield left
    subprocess.run(["umount", left], check=False, capture_output=True)


def stop(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, "stop", folder], capture_output=True, text=True, check=False)


def test_what_ends_a_moment_late_does_not_stop_the_cleaning(mounted: Path) -> None:
    with subprocess.Popen(["sleep", "1"], cwd=mounted):
        stopped = stop(mounted.parent)
    assert stopped.returncode == 0, stopped.stderr
    assert not mounted.exists()


def test_what_stays_in_use_is_named_and_kept(mounted: Path) -> None:
    (mounted / "file").touch()
    holder = subprocess.Popen(["sleep", "60"], cwd=mounted)
    try:
        stopped = stop(mounted.parent)
    finally:
        holder.kill()
        holder.wait()
    assert stopped.returncode == 1
    assert f"something still uses {mounted}" in stopped.stderr
    assert (mounted / "file").exists()
