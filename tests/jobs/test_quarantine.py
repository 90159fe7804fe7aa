"""A broken machine takes nothing more, and no entry pays for it."""

from __future__ import annotations

import importlib.util
import logging
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError
from django.db.models.functions import Now
from django.test import Client
from pytest_django.fixtures import Settings

from arena.challenges.models import Challenge
from arena.cli import doctor
from arena.evaluations.models import Evaluation
from arena.jobs import quarantine, self_check
from arena.jobs import worker as worker_module
from arena.jobs.models import Quarantine, Shard
from arena.jobs.worker import Turns
from arena.running.requests import Request
from evaluator.records.report import PlatformFailed
from tests.web.backend_support import FakeJudge, current, enter, judged_by, person, small_challenge, work_once

pytestmark = pytest.mark.django_db(transaction=True)
FAILED = PlatformFailed("internal", "Something broke.")


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    quarantine.succeeded()
    yield
    quarantine.succeeded()


@pytest.fixture
def storage(tmp_path: Path, settings: Settings) -> Path:
    """The folder that holds the archives."""
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(tmp_path / "media")}},
    }
    return tmp_path / "media"


def entries(count: int) -> list[Evaluation]:
    """One entry each of so many people."""
    challenge = small_challenge(shard=40)
    return [current(enter(challenge, person(f"team-{number}"))) for number in range(count)]


class Impatient(threading.Event):
    """Never set, and never waited for."""

    def wait(self, timeout: float | None = None) -> bool:
        return False


@dataclass
class Worker:
    """A worker that has everything judged by one judge."""

    judge: FakeJudge
    turns: Turns = field(default_factory=lambda: Turns(Impatient()))

    def take(self) -> bool:
        with judged_by(self.judge):
            return self.turns.take()


def turns(judge: FakeJudge) -> Worker:
    return Worker(judge)


def due() -> None:
    Shard.objects.update(not_before=Now())
    Quarantine.objects.update(check_after=Now())


def attempts() -> set[int]:
    return set(Shard.objects.values_list("attempts", flat=True))


def test_a_worker_that_cannot_read_its_storage_takes_nothing_more_and_costs_nobody_an_attempt(
    storage: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entered = entries(3)
    lost = storage.rename(storage.with_name("unmounted"))
    judge = FakeJudge()
    worker = turns(judge)
    with caplog.at_level(logging.ERROR):
        taken = [worker.take() for _ in range(6)]
    assert taken == [True, False, False, False, False, False]
    assert judge.calls == 0
    assert attempts() == {0}
    assert "takes nothing of anything until a check passes" in caplog.text
    [row] = Quarantine.objects.all()
    assert "archives" in row.reason

    due()
    assert not worker.take(), "the check fails still"
    shutil.move(lost, storage)
    due()
    while worker.take():
        due()
    assert {current(each.submission).state for each in entered} == {Evaluation.State.COMPLETED}
    assert not Quarantine.objects.exists()


def test_three_failures_in_a_row_without_a_common_entry_are_the_workers_and_are_refunded() -> None:
    entries(3)
    judge = FakeJudge(plan=[FAILED] * 3)
    worker = turns(judge)
    assert [worker.take() for _ in range(5)] == [True, True, True, False, False]
    assert attempts() == {0}
    assert "nothing in common" in Quarantine.objects.get().reason
    due()
    while worker.take():
        due()
    assert set(Evaluation.objects.values_list("state", flat=True)) == {Evaluation.State.COMPLETED}


def test_failures_of_a_machines_processes_are_counted_together() -> None:
    entries(3)
    judge = FakeJudge(plan=[FAILED] * 3)
    for _ in range(3):
        source = importlib.util.find_spec("arena.jobs.quarantine")
        assert source is not None
        assert source.loader is not None
        another_process = importlib.util.module_from_spec(source)
        source.loader.exec_module(another_process)
        with patch.object(worker_module, "quarantine", another_process):
            assert turns(judge).take()
    assert attempts() == {0}
    assert "nothing in common" in Quarantine.objects.get().reason


def test_one_entry_that_makes_every_worker_fail_holds_no_machine_back() -> None:
    [evaluation] = entries(1)
    for _ in range(3):
        due()
        assert turns(FakeJudge(plan=[FAILED])).take()
    evaluation.refresh_from_db()
    assert evaluation.state == Evaluation.State.PLATFORM_FAILED
    assert not Quarantine.objects.exists()


def test_a_success_between_failures_says_that_the_worker_works() -> None:
    entries(4)
    worker = turns(FakeJudge(plan=[FAILED, FAILED, None, FAILED]))
    assert [worker.take() for _ in range(4)] == [True] * 4
    assert not Quarantine.objects.exists()
    assert attempts() == {0, 1}


def test_a_machine_without_a_challenges_data_leaves_that_challenge_to_others_and_works_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = current(enter(small_challenge("mnist-missing", shard=40), person("anna")))
    here = current(enter(small_challenge("mnist-here", shard=40), person("bert")))
    worker = turns(FakeJudge(plan=[PlatformFailed("data", "MNIST is not in the cache.")]))
    with monkeypatch.context() as gone:
        (tmp_path / "file").touch()
        gone.setenv("REDOUBT_CACHE", str(tmp_path / "file" / "cache"))
        while worker.take():
            pass
        here.refresh_from_db()
        assert here.state == Evaluation.State.COMPLETED
        assert missing.shards.get().attempts == 0
        assert Quarantine.objects.get().challenge == missing.submission.challenge
    due()
    while worker.take():
        due()
    missing.refresh_from_db()
    assert missing.state == Evaluation.State.COMPLETED


def test_quarantine_is_in_the_admin() -> None:
    Quarantine.objects.create(machine="gpu-7", reason="None of the newest archives can be read.")
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root", "root@example.org", "a long password"))
    page = client.get("/admin/jobs/quarantine/").content.decode()
    assert "gpu-7" in page
    assert "None of the newest archives" in page


def test_another_machine_is_not_held_back(settings: Settings) -> None:
    Quarantine.objects.create(machine="gpu-7", reason="broken", check_after=Now())
    [evaluation] = entries(1)
    assert turns(FakeJudge()).take()
    evaluation.refresh_from_db()
    assert evaluation.state == Evaluation.State.COMPLETED
    settings.REDOUBT_MACHINE = "gpu-7"
    assert quarantine.held().everything is False, "its check passes now"
    assert not Quarantine.objects.exists()


def test_a_healthy_machine_passes_its_own_check() -> None:
    entries(1)
    assert self_check.machine() == ""
    assert self_check.data(Challenge.objects.get()) == ""


def test_a_database_that_fails_in_the_middle_costs_no_attempt() -> None:
    entries(1)

    def fail(request: Request) -> None:
        raise OperationalError("the connection was lost")

    assert work_once(judge=FakeJudge(plan=[fail]))
    assert Shard.objects.get().state == Shard.State.QUEUED
    assert attempts() == {0}


def test_the_doctor_names_machines_that_are_held_back() -> None:
    Quarantine.objects.create(machine="gpu-7", reason="None of the newest archives can be read.")
    [finding] = doctor._workers()
    assert finding.good is False
    assert finding.state == "gpu-7: None of the newest archives can be read."
    Quarantine.objects.all().delete()
    assert [finding.good for finding in doctor._workers()] == [True]
