"""The hostile suite as a table: what was tried, what was contained, what was lost. Arguments: words of the cases to run."""

from __future__ import annotations

import collections
import contextlib
import sys
import tempfile
import time
from pathlib import Path

from tests.sandbox.hostile_suite import backends
from tests.sandbox.hostile_suite.cases import BACKENDS, DEFAULT, Case, Outcome, cases
from tests.sandbox.hostile_suite.traces import free_disk_bytes, host_memory_bytes

_COLUMNS = (*BACKENDS, DEFAULT)
_MIB = 1 << 20
_LESS_MEMORY, _LESS_DISK = 512 * _MIB, 128 * _MIB  # by which the machine as a whole may differ for reasons of its own
_SETTLE_SECONDS = 20.0


def main(words: list[str]) -> int:
    """Prints the table; the status is 1 when anything was lost or a backend was missing."""
    wanted = [case for case in cases() if not words or any(word in f"{case.zone}/{case.name}" for word in words)]
    outcomes: dict[tuple[str, str], dict[str, Outcome]] = collections.defaultdict(dict)
    missing: list[str] = []
    memory, disk = host_memory_bytes(), free_disk_bytes(Path(tempfile.gettempdir()))
    for backend in _COLUMNS:
        mine = [case for case in wanted if backend in case.backends]
        with contextlib.ExitStack() as stack:
            runner = stack.enter_context(backends.opened(backend)) if mine else ""
            if isinstance(runner, str):
                missing += [f"{backend} WAS NOT CHECKED: {runner}"] if mine else []
                continue
            for case in mine:
                print(f"\r\033[K{backend}: {case.zone}/{case.name}", end="", file=sys.stderr, flush=True)
                outcomes[case.zone, case.name][backend] = runner(case)
    print("\r\033[K", end="", file=sys.stderr)
    lost = _table(wanted, outcomes) + _shortage(memory, disk)
    tried = sum(len(row) for row in outcomes.values())
    print(f"\n{len(outcomes)} hostile submissions, {tried} runs: {tried - lost} contained, {lost} lost.")
    for sentence in missing:
        print(f"!!! {sentence}")
    return 1 if lost or missing else 0


def _table(wanted: list[Case], outcomes: dict[tuple[str, str], dict[str, Outcome]]) -> int:
    """Prints one line for each case and each loss; returns how many runs were lost."""
    print(f"{'submission':<42}" + "".join(f"{backend:>18}" for backend in _COLUMNS) + "  what it tries")
    lost = 0
    for case in wanted:
        row = outcomes[case.zone, case.name]
        cells = "".join(f"{_cell(row.get(backend)):>18}" for backend in _COLUMNS)
        print(f"{case.zone + '/' + case.name:<42}{cells}  {case.tries}")
        for backend, outcome in row.items():
            if outcome.lost:
                lost += 1
                print(f"    LOST on {backend}: {outcome.lost}\n    {outcome.verdict!r}")
    return lost


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return "-"
    return "LOST" if outcome.lost else f"contained {outcome.seconds:.2f} s"


def _shortage(memory: int, disk: int) -> int:
    """Whether the machine has less than before, once it had time to tidy up."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        less_memory, less_disk = memory - host_memory_bytes(), disk - free_disk_bytes(Path(tempfile.gettempdir()))
        short = less_memory > _LESS_MEMORY or less_disk > _LESS_DISK
        if not short or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    print(f"\nThe machine afterwards: {less_memory / _MIB:+.0f} MiB of memory and {less_disk / _MIB:+.0f} MiB of disk in use.")
    return int(short)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
