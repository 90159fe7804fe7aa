"""Honest entries are left alone: no kind of network that a team may well enter gets a flag that bars it from a rank."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from honest_entries import ENTRIES, Entry

from evaluator.checks import Honest, registered
from evaluator.ensembles import standard
from evaluator.judging.defense import Defense
from evaluator.judging.evaluation import Verdict, evaluate
from evaluator.models.reading import ARGMAX

FULL = 12  # images, nightly
SPIN = "while True: sum(range(10**6))"


def judged(entry: Entry, count: int, seed: int, *, declared: bool = True) -> Verdict:
    """The official evaluation of an entry, with or without what its manifest declares."""
    opened = entry.defense()
    defense = opened if declared else Defense(opened.open, ARGMAX)
    ensemble = Honest(standard(entry.threat), bpda=entry.bpda and declared)
    return evaluate(defense, entry.examples(count), entry.threat, ensemble, seed=seed)


def barring(verdict: Verdict) -> dict[str, str]:
    """The flags that bar an entry from a rank."""
    return {flag.check: flag.evidence for flag in verdict.flags if flag.severity == "unverified"}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """The machine is loaded by so many processes that never rest."""
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


@pytest.mark.parametrize("name", ENTRIES)
def test_an_honest_entry_gets_no_flag_that_bars_it_from_a_rank(name: str) -> None:
    entry = ENTRIES[name]
    verdict = judged(entry, entry.images, seed=0)
    assert barring(verdict) == {}
    assert bool(verdict.correct.any()), "an entry that is never right proves nothing"


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("load", [0, 4], ids=["idle", "loaded"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ENTRIES)
def test_an_honest_entry_gets_no_flag_whatever_the_seed_and_the_load(name: str, seed: int, load: int) -> None:
    with busy(load):
        assert barring(judged(ENTRIES[name], FULL, seed)) == {}


@pytest.mark.parametrize(
    ("name", "field"),
    [("quantized input, declared", "bpda"), ("trees, declared", "bpda"), ("noise, declared with votes", "randomized")],
)
def test_where_a_check_must_doubt_an_honest_kind_its_page_says_what_to_declare(name: str, field: str) -> None:
    """... and declaring it clears it, which the test above shows of the same entries."""
    found = barring(judged(ENTRIES[name], 3, seed=0, declared=False))
    remedies = {check.name: check.remedy for check in registered()}
    assert any(f"`{field}" in remedies.get(check, "") for check in found), found


def test_forty_kinds_of_entries_are_in_the_table() -> None:
    assert len(ENTRIES) >= 40
