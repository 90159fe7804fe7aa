"""What an honest entry is worth does not change by one bit while hostile ones do their worst beside it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from evaluator.records import receipt
from tests.running.packs import python_submission
from tests.sandbox.hostile_suite import in_process
from tests.sandbox.hostile_suite.backends import opened
from tests.sandbox.hostile_suite.cases import ON_EVERY_BACKEND, Case, Outcome, find
from tests.sandbox.hostile_suite.in_evaluation import evaluated, shortened

LOUD = (
    ("sandbox", "fork-bomb"),
    ("sandbox", "memory-many-processes"),
    ("sandbox", "endless-loop-in-many"),
    ("sandbox", "inode-fill"),
    ("sandbox", "output-endless-log"),
    ("sandbox", "signals-to-everyone"),
    ("wire", "flood"),
    ("wire", "slow-drip"),
    ("intake", "tar-bomb"),
    ("evaluation", "memory-on-attacks"),
)


@pytest.mark.slow
def test_an_honest_entry_s_verdict_is_the_same_beside_hostile_ones(tmp_path: Path) -> None:
    entry = python_submission(tmp_path / "honest")
    with shortened():
        alone = evaluated(entry, tmp_path)
        stop, outcomes = threading.Event(), dict[str, Outcome]()
        thread = threading.Thread(target=_rage, args=(stop, outcomes))
        thread.start()
        try:
            beside = [evaluated(entry, tmp_path)]
            while len(outcomes) < len(LOUD) and thread.is_alive():
                beside.append(evaluated(entry, tmp_path))
        finally:
            stop.set()
            thread.join()
    assert outcomes.keys() == {name for _, name in LOUD}
    # Two of them in one process count each other's traces; how each ended is what matters here.
    assert [outcome.verdict for outcome in outcomes.values() if not outcome.verdict] == []
    for report in beside:
        assert receipt.compare(alone, report) == []


def _rage(stop: threading.Event, outcomes: dict[str, Outcome]) -> None:
    with opened("bubblewrap-user") as runner:
        assert not isinstance(runner, str)

        def play(case: Case) -> Outcome:
            return runner(case) if case.zone in ON_EVERY_BACKEND else in_process.run(case)

        for zone, name in LOUD:
            if stop.is_set():
                return
            outcomes[name] = play(find(zone, name))
