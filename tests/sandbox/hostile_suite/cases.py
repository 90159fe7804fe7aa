"""Hostile submissions as data: one folder each below `hostile/`, in the folder of the zone that must contain it.

`case.toml`: `tries`, one sentence; `ends`, the verdicts that count as contained; `says`, words that the verdict must hold;
`seconds`, the limit that it runs under; `limits`, further bounds of its sandbox; `only`, the backends where it makes sense.
Beside it lies what is submitted, or the script that builds it.
"""

from __future__ import annotations

import functools
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOSTILE = Path(__file__).resolve().parents[1] / "hostile"
ZONES = ("sandbox", "wire", "evaluation", "intake")
BACKENDS = ("bubblewrap", "bubblewrap-user", "docker")
DEFAULT = "default"  # whichever backend this machine opens, for the zones whose cases are not run on every one
ON_EVERY_BACKEND = ("sandbox", "wire")
SLACK = 2.0  # seconds after its limit by which a case must be contained


@dataclass(frozen=True)
class Case:
    """One hostile submission. seconds: its limit. backends: where it is run."""

    zone: str
    name: str
    tries: str
    ends: tuple[str, ...]
    says: str = ""
    seconds: float = 10.0
    limits: Mapping[str, int | float] = field(default_factory=dict)
    only: tuple[str, ...] = BACKENDS

    @property
    def folder(self) -> Path:
        return HOSTILE / self.zone / self.name

    @property
    def backends(self) -> tuple[str, ...]:
        return self.only if self.zone in ON_EVERY_BACKEND else (DEFAULT,)


@dataclass(frozen=True)
class Outcome:
    """What came of it. verdict: how it ended and what was said; lost: what the hostile submission achieved, or ""."""

    seconds: float
    verdict: str
    lost: str = ""


@functools.cache
def cases() -> tuple[Case, ...]:
    """All of them, in the order of their zones and names. Raises TypeError or KeyError for a case that is not well-formed."""
    return tuple(_read(zone, path.parent.name) for zone in ZONES for path in sorted((HOSTILE / zone).glob("*/case.toml")))


def find(zone: str, name: str) -> Case:
    """Raises StopIteration when there is none."""
    return next(case for case in cases() if (case.zone, case.name) == (zone, name))


def _read(zone: str, name: str) -> Case:
    table = tomllib.loads((HOSTILE / zone / name / "case.toml").read_text())
    table["ends"], table["only"] = tuple(table["ends"]), tuple(table.get("only", BACKENDS))
    return Case(zone, name, **table)


def built(case: Case) -> Callable[..., Any]:
    """`build` of the case's build.py, which finds its zone's helpers beside its folder."""
    scope: dict[str, Any] = {}
    sys.path.insert(0, str(case.folder.parent))
    try:
        exec(compile((case.folder / "build.py").read_text(), str(case.folder / "build.py"), "exec"), scope)
    finally:
        sys.path.remove(str(case.folder.parent))
    build: Callable[..., Any] = scope["build"]
    return build


def judged(case: Case, seconds: float, end: str, said: str, losses: list[str]) -> Outcome:
    """The outcome of a case that took `seconds` and ended as `end` with the words `said`; losses: seen from the outside."""
    if end not in case.ends:
        losses = [*losses, f"it ended as {end}, not as {' or '.join(case.ends)}"]
    if case.says not in said:
        losses = [*losses, f"the verdict does not say {case.says!r}"]
    if seconds > case.seconds + SLACK:
        losses = [*losses, f"it took {seconds:.1f} s under a limit of {case.seconds:g} s"]
    return Outcome(round(seconds, 3), f"{end}: {said.strip()[-300:]}", "; ".join(losses))
