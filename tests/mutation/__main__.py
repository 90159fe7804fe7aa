"""`make mutation`: changes one thing at a time in the code that targets.toml names, and runs the tests that must notice.

One process a target imports everything and runs its tests once. Each mutant is a fork of it in which the changed functions
have the changed code, and which ends at the first test that fails. What survives must be explained in targets.toml, or the
command fails. WORDS choose targets whose file contains one of them.
"""

from __future__ import annotations

import ast
import gc
import json
import os
import resource
import sys
import tempfile
import time
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.mutation.mutants import mutants

ROOT = Path(__file__).resolve().parents[2]
TARGETS = Path(__file__).with_name("targets.toml")
SECONDS_MORE = 20  # processor seconds beyond five times what the untouched code takes: a loop without an end is noticed, too


@dataclass(frozen=True)
class Target:
    """A file, the functions that are changed (all where none is named), the tests that must notice."""

    file: str
    tests: list[str]
    functions: list[str] = field(default_factory=list)
    explained: dict[str, str] = field(default_factory=dict)

    @property
    def module(self) -> str:
        return self.file.removeprefix("platform/").removesuffix(".py").replace("/", ".")


class _SessionOnly:
    """What pytest is told comes next: it then keeps what lives as long as the session, and nothing else."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session

    def listchain(self) -> list[pytest.Session]:
        return [self._session]


class Mutating:
    """A pytest plugin that runs the collected tests once as they are, and then once for every mutant."""

    def __init__(self, target: Target, results: Path) -> None:
        self._target, self._results = target, results

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        seconds = dict[str, float]()
        begun = time.process_time()
        for item in session.items:
            before = time.process_time()
            self._run(session, item)
            seconds[item.nodeid] = time.process_time() - before
        if session.testsfailed or not session.items:
            raise SystemExit(f"{self._target.file}: its tests fail without any change")
        most = 5 * (time.process_time() - begun) + SECONDS_MORE
        killers, survivors, made = Counter[str](), list[str](), 0
        for made, mutant in enumerate(  # noqa: B007 (the last one is their number)
            mutants((ROOT / self._target.file).read_text(), tuple(self._target.functions)), start=1
        ):
            # what noticed the last ones is tried first, then what is quick
            items = sorted(session.items, key=lambda item: (-killers[item.nodeid], seconds[item.nodeid]))
            killer = self._first_failure(session, items, mutant.tree, most)
            if killer is None:
                survivors.append(mutant.where)
            elif killer >= 0:
                killers[items[killer].nodeid] += 1
        self._results.write_text(json.dumps({"made": made, "survivors": survivors}))
        return True

    def _run(self, session: pytest.Session, item: pytest.Item) -> None:
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=_SessionOnly(session))

    def _first_failure(self, session: pytest.Session, items: list[pytest.Item], tree: ast.Module, seconds: float) -> int | None:
        """The place of the first test that fails on this tree, None where none does, -1 where the process was ended."""
        note = Path(f"{self._results}.killer")
        child = os.fork()
        if child == 0:
            try:
                resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                replace(self._target.module, compile(tree, str(ROOT / self._target.file), "exec", dont_inherit=True))
                for place, item in enumerate(items):
                    self._run(session, item)
                    if session.testsfailed:
                        note.write_text(str(place))
                        os._exit(1)
                os._exit(0)
            finally:
                os._exit(2)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == 0:
            return None
        return int(note.read_text()) if status == 1 else -1


def replace(module: str, code: CodeType) -> None:
    """Gives every living function of the module the code of the same name and place in `code`."""
    found = dict[tuple[str, int], CodeType]()
    pending = [code]
    while pending:
        each = pending.pop()
        found[each.co_qualname, each.co_firstlineno] = each
        pending += [constant for constant in each.co_consts if isinstance(constant, CodeType)]
    replaced = 0
    for function in gc.get_objects():
        if type(function) is FunctionType and function.__module__ == module:
            changed = found.get((function.__code__.co_qualname, function.__code__.co_firstlineno))
            if changed is not None:
                function.__code__ = changed
                replaced += 1
    assert replaced, f"{module}: nothing was replaced"


def survivors(target: Target) -> tuple[int, list[str]]:
    """(how many mutants there are, those that no test notices), found in a process of their own."""
    with tempfile.TemporaryDirectory() as name:
        results = Path(name) / "results.json"
        child = os.fork()
        if child == 0:
            log = os.open(Path(name) / "log", os.O_WRONLY | os.O_CREAT)
            os.dup2(log, 1)
            os.dup2(log, 2)
            few = [Phase.explicit, Phase.reuse, Phase.generate]  # a smallest example is of no use here
            settings.register_profile(
                "mutation", phases=few, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
            )
            options = [
                "-q",
                "-s",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:xdist",
                "--no-migrations",
                "--hypothesis-profile=mutation",
            ]
            options += ["-o", "timeout=300", "-m", "not nightly and not docker", *target.tests]
            try:
                pytest.main(options, plugins=[Mutating(target, results)])
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        if not results.exists():
            raise SystemExit(f"{target.file}: its tests do not pass as they are\n{(Path(name) / 'log').read_text()[-3000:]}")
        table = json.loads(results.read_text())
        return table["made"], table["survivors"]


def read_targets() -> list[Target]:
    """The table of targets.toml."""
    return [Target(**table) for table in tomllib.loads(TARGETS.read_text())["target"]]


def main(words: list[str]) -> int:
    """Prints a line a file, then each survivor that nothing explains. Returns 1 where there is one."""
    os.chdir(ROOT)
    open_ones, sums = 0, Counter[str]()
    for target in read_targets():
        if words and not any(word in target.file for word in words):
            continue
        begun = time.monotonic()
        made, left = survivors(target)
        unexplained = [where for where in left if where not in target.explained]
        stale = sorted(set(target.explained) - set(left))
        counts = {"mutants": made, "killed": made - len(left), "explained": len(left) - len(unexplained)}
        counts["open"] = len(unexplained) + len(stale)
        sums.update(counts)
        open_ones += counts["open"]
        print(f"{target.file}: {_words(counts)} ({time.monotonic() - begun:.0f} s)", flush=True)
        for where in unexplained:
            print(f"    open: {where}", flush=True)
        for where in stale:
            print(f"    explained, but it is killed or gone: {where}", flush=True)
    print(f"all: {_words(sums)}")
    return 1 if open_ones else 0


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {what}" for what, number in counts.items())


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
