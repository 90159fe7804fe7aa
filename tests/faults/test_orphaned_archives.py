"""What a web process leaves that is killed in the middle of an upload: nothing but an archive that no row names, which goes."""

from __future__ import annotations

import multiprocessing.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django.fixtures import Settings

from arena.accounts.services import make_token
from arena.challenges.models import Challenge
from arena.jobs import tasks
from arena.jobs.leftovers import sweep_leftovers, sweep_storage
from sandbox.owner import Owner
from tests.faults.site import Site
from tests.sandbox.conformance.support import dead_owner
from tests.web.backend_support import enter, good_files, person, small_challenge, zipped

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


_KILLED_WHILE_INSPECTING = """
import os, signal
from django.conf import settings
from django.test import Client
from arena.submissions import services
from tests.faults.test_orphaned_archives import post
services.inspect = lambda archive: os.kill(os.getpid(), signal.SIGKILL)
settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 0
post(Client(), {token!r}, b"a large archive")
"""


def post(client: Client, token: str, archive: bytes) -> int:
    """Uploads an archive as a program would; the answer's status."""
    form = {"challenge": Challenge.objects.get().slug, "archive": SimpleUploadedFile("defense.zip", archive)}
    headers = {"Authorization": f"Bearer {token}", "Host": "localhost"}
    return client.post("/api/v1/submissions", form, headers=headers).status_code


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
    sweep_leftovers()
    assert sorted(stored.iterdir()) == sorted([named, young])


@pytest.mark.django_db
def test_the_sweep_clears_adversarial_inputs_too(stored: Path) -> None:
    lost = stored.parent / "adversarial" / "ab" / "abcd.npz"
    lost.parent.mkdir(parents=True)
    lost.write_bytes(b"x")
    age(lost, seconds=3700)
    sweep_storage()
    assert not lost.exists()


def test_an_idle_worker_clears_what_another_one_of_this_machine_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"redoubt-work-{dead_owner()}-abcdefgh").mkdir()
    tasks.sweep_machine()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.django_db
def test_a_large_upload_is_stored_as_it_was_sent(stored: Path, settings: Settings, client: Client) -> None:
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 0
    small_challenge()
    archive = zipped({**good_files(), "notes.txt": os.urandom(300_000)})  # more than one of the chunks that are read at once
    assert post(client, make_token(user=person(), name="tests").secret, archive) == 201
    assert [file.read_bytes() for file in stored.iterdir()] == [archive]


def test_the_folder_of_celerys_pool_is_one_that_the_sweep_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setitem(vars(multiprocessing.current_process())["_config"], "tempdir", None)
    tasks.own_the_pools_folder()
    folder = Path(multiprocessing.util.get_temp_dir())
    assert folder.parent == tmp_path
    assert folder.name.startswith(f"redoubt-pool-{Owner.current()}-")


def test_an_upload_that_was_killed_while_it_was_read_leaves_no_file(tmp_path: Path) -> None:
    site = Site(tmp_path, "bubblewrap")
    site.prepare()
    script = _KILLED_WHILE_INSPECTING.format(token=site.token)
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", script]
    killed = subprocess.run(command, cwd=Path(__file__).parents[2], env=site.environment, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert list(site.temporary.iterdir()) == []


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
        site.wait_for(lambda: not archive.exists(), seconds=60, why="the sweep")
    finally:
        site.stop()
