"""What was not run is summed up, a line a cause, and under CI=true is a failure. The hypothesis profile is here, too."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # two test processes share the cores; spinning threads starve them
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from _pytest.terminal import TerminalReporter
from hypothesis import HealthCheck, settings

# The one profile. No test fails because the machine was busy: a hang is pytest-timeout's.
settings.register_profile("redoubt", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("redoubt")

pytest_plugins = ["tests.costs"]

_NOT_RUN = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_NOT_RUN] = Counter()


def _controls(config: pytest.Config) -> bool:
    """Whether this process reports to the person (an xdist worker does not)."""
    return not hasattr(config, "workerinput")


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> object:
    """Turns a run with skips into a failure under CI=true."""
    result = yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if _controls(session.config) and isinstance(reporter, TerminalReporter):
        skipped = reporter.stats.get("skipped", [])
        session.config.stash[_NOT_RUN].update(_reason(report) for report in skipped)
        if skipped and os.environ.get("CI") == "true" and session.exitstatus == 0:
            session.exitstatus = 1
    return result


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """One line a cause: how many tests it kept from running, and what provides it (needs.py)."""
    reasons = config.stash[_NOT_RUN] or Counter(_reason(r) for r in terminalreporter.stats.get("skipped", []))
    if not reasons:
        return
    ci = os.environ.get("CI") == "true"
    terminalreporter.section("NOT RUN ON THIS MACHINE" + (": under CI=true that is a failure" if ci else ""), sep="!", red=True)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:4d} tests {reason}")


def _reason(report: object) -> str:
    longrepr = getattr(report, "longrepr", None)
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ")


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Names byte strings by their length: their content may hold a time or a hash order, which differs between processes."""
    return f"{argname}-{len(val)}-bytes" if isinstance(val, bytes) else None


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before xdist reads the groups, and after pytest-django has sorted
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Tests of the one Docker engine run in one process: some look at every container it has.

    What takes long comes first: at the end of a run it would keep one process busy while the others have nothing left.
    """
    for item in items:
        if item.get_closest_marker("docker"):
            item.add_marker(pytest.mark.xdist_group("docker"))
    yield
    items.sort(key=lambda item: not _takes_long(item))


def _takes_long(item: pytest.Item) -> bool:
    """Whether it is marked so, or belongs to a group that one process has to run alone.

    Tests with Django's database keep the order that pytest-django gives them.
    """
    marked = any(item.get_closest_marker(name) for name in ("slow", "services", "docker", "browser"))
    return marked and not item.get_closest_marker("django_db")
