"""How long the boards take on the server: a board of 1,000 entries, a matrix of 200 x 50, each over 10,000 examples.

Run as `python -m benchmarks.board [--entries N] [--defenses N] [--attacks N] [--examples N]`. It fills a SQLite file in a
temporary folder with random verdicts and cells and asks for every page through Django's test client, which includes
middleware, queries and templates. Printed are the best of several runs, wall clock and CPU, and the queries of one.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.pages import provenance, write_section

ROOT = Path(__file__).resolve().parent.parent
REPEATS = 5
SHARED = "On a machine that others use, too, the CPU time is the figure to read."


def _start(folder: str) -> None:
    """Django on an empty SQLite file."""
    sys.path += [str(ROOT), str(ROOT / "platform")]
    os.environ |= {"DJANGO_SETTINGS_MODULE": "arena.settings.embedded", "REDOUBT_DATA": folder}
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def random_challenge(slug: str, examples: int) -> Any:
    from arena.challenges.services import publish
    from evaluator.manifests.spec import Challenge, Pack

    manifest = {
        "title": f"{slug}, random verdicts",
        "data": {"dataset": "mnist", "examples": examples},
        "threat": {"kind": "linf", "epsilon": 0.3},
    }
    return publish(pack=Pack(slug=slug, folder=None, challenge=Challenge.model_validate(manifest), digest="c" * 64)).challenge


def random_defenses(challenge: Any, team: Any, count: int, examples: int) -> list[Any]:
    """Standing defenses with random bits, from nearly everything withstood to nearly nothing."""
    import numpy as np
    from django.utils import timezone

    from arena.evaluations.models import Evaluation
    from arena.leaderboards.models import Standing
    from arena.matrix.models import Survival
    from arena.rankings.bits import pack
    from arena.submissions.models import Submission
    from evaluator.records.intervals import clopper_pearson
    from tests.web.bulk_trials import insert

    draw, now = np.random.default_rng(0), timezone.now()
    manifest = {"name": "x", "format": "safetensors"}
    entries = Submission.objects.bulk_create(
        Submission(challenge=challenge, team=team, name=f"Defense {index}", manifest=manifest, digest=f"{index:064}", size=1)
        for index in range(count)
    )
    judged, survivals, standings = [], [], []
    shared = draw.random(examples)
    for index, entry in enumerate(entries):
        robust = 0.7 * shared + 0.3 * draw.random(examples) < 1 - (index + 1) / (count + 1)
        left = int(robust.sum())
        low, high = clopper_pearson(left, examples)
        verdict = Evaluation(
            judge=Evaluation.JUDGE, challenge=challenge, team=team, submission=entry,
            pack=challenge.pack.model_dump(mode="json"), rules_digest=challenge.rules_digest,
            state="completed", examples=examples, clean_accuracy=0.99, robust_accuracy=left / examples, interval_low=low,
            interval_high=high, verified=True, forward_rows=10**6, backward_rows=10**6, seconds=100.0,
            finished=now - timedelta(minutes=count - index),
        )  # fmt: skip
        judged.append(verdict)
        bits = pack(robust)
        survivals.append(Survival(evaluation=verdict, correct=pack(np.ones(examples)), robust=bits, witnessed=bits))
        standings.append(
            Standing(
                challenge=challenge, submission=entry, evaluation=verdict, robust_accuracy=left / examples,
                at=now, cause="entered",
            )
        )  # fmt: skip
    insert(judged)
    Survival.objects.bulk_create(survivals, batch_size=200)
    Standing.objects.bulk_create(standings, batch_size=200)
    return judged


def random_attacks(challenge: Any, team: Any, judged: list[Any], count: int, examples: int) -> None:
    """Accepted attacks, each with a played cell against every defense."""
    import numpy as np
    from django.utils import timezone

    from arena.matrix.models import Cell, FirstLook
    from arena.rankings.bits import pack
    from arena.submissions.models import Submission
    from tests.web.bulk_trials import insert

    draw, now = np.random.default_rng(1), timezone.now()
    manifest = {"name": "x", "format": "python"}
    entries = Submission.objects.bulk_create(
        Submission(
            challenge=challenge, team=team, kind="attack", name=f"Attack {index}", manifest=manifest, digest=f"a{index:063}",
            size=1,
        )
        for index in range(count)
    )  # fmt: skip
    insert(
        FirstLook(
            judge=FirstLook.JUDGE,
            challenge=challenge,
            team=team,
            submission=entry,
            target=judged[0].submission,
            state="completed",
            finished=now,
        )
        for entry in entries
    )
    for verdict in judged:
        cells = []
        for entry in entries:
            broken = draw.random(examples) < draw.random()
            cells.append(
                Cell(
                    judge=Cell.Kind.PLAY, challenge=challenge, defense=verdict.submission, attack=entry,
                    evaluation=verdict, team=team,
                    rules_digest=challenge.rules_digest, state="completed", examples=examples, breaks=pack(broken),
                    broken=int(broken.sum()), left=examples - int(broken.sum()), gain=float(broken.sum()),
                    forward_rows=10**6, backward_rows=10**6, verified=True, finished=now,
                )
            )  # fmt: skip
        insert(cells)


def _time(name: str, work: Callable[[], object], said: str = "") -> str:
    """A row of the table: the best of several runs, and the first one, which fills caches."""
    runs = []
    for _ in range(1 + REPEATS):
        begun = time.perf_counter(), time.process_time()
        work()
        runs.append((1000 * (time.perf_counter() - begun[0]), 1000 * (time.process_time() - begun[1])))
    wall, cpu = (min(run[at] for run in runs[1:]) for at in (0, 1))
    return f"| {name} | {wall:.0f} | {cpu:.0f} | {runs[0][0]:.0f} | {said} |"


def _page(name: str, address: str) -> str:
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    client = Client(SERVER_NAME="localhost", headers={"Accept-Encoding": "gzip"})
    with CaptureQueriesContext(connection) as asked:
        answer = client.get(address)
    assert answer.status_code == 200, answer.content[:500]
    said = f"{len(asked)} queries, {len(answer.content) / 1000:.0f} kB compressed"
    return _time(name, lambda: client.get(address), said)


def _anew(work: Callable[[], object]) -> Callable[[], object]:
    """The work without what was kept of it."""
    from django.core.cache import cache

    def run() -> object:
        cache.clear()
        return work()

    return run


def main(entries: int, defenses: int, attacks: int, examples: int) -> str:
    """Fills, measures, and returns the table."""
    from arena.accounts.models import Team
    from arena.leaderboards.significance import significance

    team = Team.objects.create(name="Bench", slug="bench")
    long = random_challenge("board", examples)
    random_defenses(long, team, entries, examples)
    wide = random_challenge("matrix", examples)
    random_attacks(wide, team, random_defenses(wide, team, defenses, examples), attacks, examples)
    board, matrix = f"board of {entries:,} entries", f"{defenses} defenses x {attacks} attacks"
    rows = ["| what | ms | ms of CPU | first, ms | |", "|---|--:|--:|--:|---|", _page(board, "/challenges/board/")]
    rows.append(_time(f"{board}: rank sets anew", _anew(lambda: significance(long))))
    for tab in ("matrix", "attacks", "history"):
        rows.append(_page(f"{matrix}: {tab}", f"/challenges/matrix/{tab}/"))
    return "\n".join([*rows, _page(f"{matrix}: board", "/challenges/matrix/")])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for option, default in (("entries", 1000), ("defenses", 200), ("attacks", 50), ("examples", 10_000)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--write", action="store_true", help="also into docs/benchmarks.md")
    chosen = vars(parser.parse_args())
    write = chosen.pop("write")
    with tempfile.TemporaryDirectory() as temporary:
        _start(temporary)
        table = main(**chosen)
        print(table)
        if write:
            write_section("Boards and the matrix", f"{provenance()} {SHARED}\n\n{table}")
