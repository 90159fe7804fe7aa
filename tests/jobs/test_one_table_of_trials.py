"""An existing site gets its one table of trials: its board is the same afterwards, and unfinished work waits again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, router
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from arena.challenges.models import Challenge
from arena.evaluations.models import Evaluation
from arena.jobs import lines
from arena.jobs.judges import Line
from arena.jobs.models import Quarantine, Shard, Trial
from arena.jobs.queries import log_text
from arena.leaderboards.queries import board, history
from arena.matrix.models import Cell, Fall, FirstLook
from arena.rankings.bits import pack
from arena.submissions.models import Submission
from tests.web.backend_support import small_pack

BEFORE = {"evaluations": "0003_quarantine", "matrix": "0004_database_times"}
NOW = timezone.now()


class EverythingOld:
    """Has every model of this process read and write the database `old`."""

    def db_for_read(self, model: object, **hints: object) -> str:
        return "old"

    db_for_write = db_for_read


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker) -> Iterator[Any]:
    """The models of a database as it was before there was a table of trials."""
    file = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "old.sqlite3"}
    connections.settings["old"] = {**connections.settings["default"], **file, "OPTIONS": {}}
    monkeypatch.setattr(router, "routers", [EverythingOld()])
    with django_db_blocker.unblock():
        executor = MigrationExecutor(connections["old"])
        before = [(app, BEFORE.get(app, name)) for app, name in executor.loader.graph.leaf_nodes() if app != "jobs"]
        executor.migrate(before)
        yield executor.loader.project_state(before).apps
        connections["old"].close()
    del connections["old"]
    del connections.settings["old"]


def migrate() -> None:
    executor = MigrationExecutor(connections["old"])
    executor.migrate(executor.loader.graph.leaf_nodes())


def fill(old: Any) -> None:
    """One defense with its verdict and a fall by an accepted attack; one that is judged, on which a replay waits."""
    pack_, made = small_pack(), {}
    values = {"slug": "mnist-linf", "title": "MNIST", "manifest": pack_.challenge.model_dump(mode="json"), "rules_digest": "r"}
    challenge = old.get_model("challenges", "Challenge").objects.create(digest="d", **values)
    team = old.get_model("accounts", "Team").objects.create(name="Old", slug="old")
    for kind, name in (("defense", "Standing"), ("defense", "Waiting"), ("attack", "Breaker")):
        made[name] = old.get_model("submissions", "Submission").objects.create(
            public_id=f"entry-{name}", challenge=challenge, team=team, kind=kind, name=name, digest=name, size=1,
            manifest={"name": name, "format": "python"},
        )  # fmt: skip
    evaluations = old.get_model("evaluations", "Evaluation").objects
    common = {"pack": pack_.model_dump(mode="json"), "rules_digest": "r", "examples": 40}
    verdict = evaluations.create(
        public_id="verdict", submission=made["Standing"], state="completed", clean_accuracy=1.0, robust_accuracy=0.9,
        interval_low=0.7, interval_high=0.95, verified=True, forward_rows=3, backward_rows=4, seconds=5.0, seed=7, finished=NOW,
        **common,
    )  # fmt: skip
    running = evaluations.create(public_id="running", submission=made["Waiting"], state="running", started=NOW, **common)
    shards = old.get_model("evaluations", "Shard").objects
    shards.create(evaluation=verdict, index=0, start=0, stop=40, state="done", log="it said so", claims=2)
    shards.create(evaluation=running, index=0, start=0, stop=20, state="done", outcome={"kind": "completed", "report": {}})
    shards.create(evaluation=running, index=1, start=20, stop=40, state="claimed", lease_owner="w", claims=3, attempts=1)
    fell = {"challenge": challenge, "defense": made["Standing"], "attack": made["Breaker"]}
    play = old.get_model("matrix", "Cell").objects.create(
        public_id="cell", evaluation=verdict, team=team, rules_digest="r", state="completed", examples=40, left=36, broken=4,
        priority=5, finished=NOW, breaks=pack([1] * 4 + [0] * 36), **fell,
    )  # fmt: skip
    bits = pack([0] * 4 + [1] * 36)
    old.get_model("matrix", "Survival").objects.create(evaluation=verdict, correct=pack([1] * 40), robust=bits, witnessed=bits)
    old.get_model("matrix", "Fall").objects.create(
        cell=play, evaluation=verdict, before=40, after=36, examples=40, at=NOW, **fell
    )  # fmt: skip
    waits = old.get_model("matrix", "Cell").objects.create(
        public_id="replay", challenge=challenge, defense=made["Waiting"], attack=made["Standing"], evaluation=running,
        team=team, rules_digest="r", kind="transfer", examples=40,
    )  # fmt: skip
    old.get_model("matrix", "CellShard").objects.create(cell=waits, index=0, start=0, stop=40)
    old.get_model("matrix", "Trial").objects.create(
        submission=made["Breaker"], target=made["Standing"], state="done", verdict="accepted", violations=[], finished=NOW
    )
    old.get_model("leaderboards", "Standing").objects.create(
        challenge=challenge, submission=made["Standing"], evaluation=verdict, robust_accuracy=1.0, at=NOW, cause="entered"
    )
    old.get_model("evaluations", "Quarantine").objects.create(machine="gpu-7", reason="broken")


def test_the_board_and_what_explains_it_stay(old: Any) -> None:
    fill(old)
    migrate()
    challenge = Challenge.objects.get()
    shown = board(challenge)
    [row] = shown.ranked
    assert (row.evaluation_id, row.submission_id, row.robust_accuracy, row.seconds, row.rank) == (
        "verdict",
        "entry-Standing",
        0.9,
        5.0,
        1,
    )
    assert [(waits.evaluation_id, waits.state) for waits in shown.running] == [("running", "queued")]
    assert [event.cause for event in history(Submission.objects.get(name="Standing"))] == ["entered", "by Breaker"]
    verdict, cell = Evaluation.objects.get(public_id="verdict"), Cell.objects.get(public_id="cell")
    assert (verdict.seed, verdict.finished, log_text(verdict)) == (7, NOW, "it said so")
    assert (cell.state, cell.judge, cell.priority, Fall.objects.get().cell) == ("completed", "play", 5, cell)
    assert FirstLook.objects.get().verdict == "accepted"
    assert Quarantine.objects.get().machine == "gpu-7"


def test_unfinished_work_is_queued_again_in_its_order(old: Any) -> None:
    fill(old)
    migrate()
    running = Evaluation.objects.get(public_id="running")
    assert list(running.shards.values_list("start", "stop", "state", "lease_number", "outcome")) == [
        (0, 20, "queued", 0, None),
        (20, 40, "queued", 0, None),
    ]
    taken = [lines.lease_first(Line.OLDEST, owner="w") for _ in range(2)]
    assert [lease and Trial.objects.get(pk=lease.trial_id).public_id for lease in taken] == ["replay", None]
    Trial.objects.filter(public_id="replay").update(state="completed")
    assert lines.lease_first(Line.OLDEST, owner="w")
    assert Shard.objects.filter(state="queued").count() == 1
