"""What each test costs, in processor seconds with its child processes: a loaded machine changes those little.

`pytest --costs 30` prints a line a folder and the 30 most expensive tests. A fixture counts with its first test.
"""

from __future__ import annotations

import os
import resource
from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePath

import pytest
from _pytest.terminal import TerminalReporter

_BEFORE = pytest.StashKey[float]()
_COST = "processor seconds"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--costs", type=int, default=0, metavar="N", help="print processor seconds per folder and of the N most expensive tests"
    )


def spent() -> float:
    """Processor seconds of this process and of every child that it has waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    item.stash[_BEFORE] = spent()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    if call.when == "teardown":  # the last report of a test; xdist carries its properties to the controller
        item.user_properties.append((_COST, spent() - item.stash[_BEFORE]))
    return (yield)


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """A line a folder, then the most expensive tests."""
    count = config.getoption("--costs")
    costs, seconds = _costs(terminalreporter)
    if not count or not costs:
        return
    folders: dict[str, list[str]] = defaultdict(list)
    for test in costs:
        folders[str(PurePath(test.split("::")[0]).parent)].append(test)
    terminalreporter.section(f"processor seconds, {os.cpu_count()} processors")
    rows = [
        (folder, len(tests), sum(costs[t] for t in tests), sum(seconds[t] for t in tests)) for folder, tests in folders.items()
    ]
    rows.append(("all", len(costs), sum(costs.values()), sum(seconds.values())))
    for folder, tests, cost, clock in sorted(rows, key=lambda row: -row[2]):
        terminalreporter.write_line(f"{cost:8.1f} s of {clock:8.1f} s by the clock  {tests:5d} tests  {folder}")
    terminalreporter.section(f"the {count} most expensive tests")
    for test in sorted(costs, key=lambda test: -costs[test])[:count]:
        terminalreporter.write_line(f"{costs[test]:8.1f} s of {seconds[test]:8.1f} s by the clock  {test}")


def _costs(reporter: TerminalReporter) -> tuple[dict[str, float], dict[str, float]]:
    """Processor seconds and seconds by the clock, of each test that ran."""
    costs: dict[str, float] = {}
    seconds: dict[str, float] = defaultdict(float)
    for report in (
        report for reports in reporter.stats.values() for report in reports if isinstance(report, pytest.TestReport)
    ):
        seconds[report.nodeid] += report.duration
        costs.update((report.nodeid, value) for key, value in report.user_properties if key == _COST)
    return costs, seconds


def _sum(of: dict[str, float], tests: list[str]) -> float:
    return sum(of[test] for test in tests)
