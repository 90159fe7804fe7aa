"""A web process that is killed between storing an upload and the commit leaves an archive that no row names: it goes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from arena.evaluations import tasks
from arena.evaluations.tidying import tidy
from tests.faults.site import Site
from tests.web.backend_support import enter, person, small_challenge

_KILLED_BEFORE_THE_COMMIT = """
import os, signal
from django.db.models.signals import pre_save
from arena.accounts.models import User
from arena.challenges.models import Challenge
from arena.submissions.models import Submission
from tests.web.backend_support import enter
pre_save.connect(lambda **_: os.kill(os.getpid(), signal.SIGKILL), sender=Submission, weak=False)
enter(Challenge.objects.get(), User.objects.get())
"""


@pytest.fixture
def stored(tmp_path: Path, settings: Settings) -> Path:
    """The folder of archives, with one that a row names."""
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(tmp_path)}},
    }
    return tmp_path / "submissions"


def age(file: Path, *, seconds: float) -> Path:
    os.utime(file, (time.time() - seconds,) * 2)
    return file


@pytest.mark.django_db
def test_an_archive_without_a_row_goes_after_an_hour_and_no_other(stored: Path) -> None:
    entry = enter(small_challenge(), person())
    named = age(Path(entry.archive.path), seconds=7200)
    assert named.parent == stored
    old, young = stored / "old.zip", stored / "young.zip"
    for file in (old, young):
        file.write_bytes(b"x")
    age(old, seconds=3700)
    tidy()
    assert sorted(stored.iterdir()) == sorted([named, young])


@pytest.mark.django_db
def test_beat_clears_adversarial_inputs_too(stored: Path) -> None:
    lost = stored.parent / "adversarial" / "ab" / "abcd.npz"
    lost.parent.mkdir(parents=True)
    lost.write_bytes(b"x")
    age(lost, seconds=3700)
    tasks.clear_storage()
    assert not lost.exists()


def test_what_a_killed_upload_stored_is_found_by_the_next_worker(tmp_path: Path) -> None:
    site = Site(tmp_path, "bubblewrap")
    site.prepare()
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", _KILLED_BEFORE_THE_COMMIT]
    killed = subprocess.run(command, cwd=Path(__file__).parents[2], env=site.environment, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    (archive,) = (tmp_path / "data").rglob("*.zip")
    assert site.count("submissions_submission") == 0
    age(archive, seconds=3700)
    try:
        site.start_worker()
        site.wait_for(lambda: not archive.exists(), seconds=60, why="the janitor")
    finally:
        site.stop()
