"""Challenges with phases for looking at pages: one whose finals are on, and one between its phases."""

from __future__ import annotations

from typing import Any

from arena.accounts.models import Team
from tests.e2e.season import Made, complete, make_challenge, make_entry

LEFT = (0.95, 0.92, 0.899, 0.893)


def _phase(name: str, opens: str, closes: str) -> dict[str, Any]:
    return {"name": name, "opens": f"{opens}T12:00:00Z", "closes": f"{closes}T12:00:00Z"}


def make_phased_season() -> dict[str, Made]:
    """An entry in each of them, by name; call after `make_season`."""
    team = Team.objects.get(name="Alpine Robust")
    opened = make_challenge(
        "mnist-finals", title="MNIST, finals", published=None, phases=[_phase("Finals", "2026-01-01", "2099-01-01")]
    )
    phases = [_phase("Warm-up", "2026-01-01", "2026-02-01"), _phase("Finals", "2098-01-01", "2099-01-01")]
    closed = make_challenge("mnist-between", title="MNIST, between phases", published=None, phases=phases)
    return {
        "sealed": complete(make_entry(opened, team, "Sealed CNN"), clean=0.984, left=LEFT),
        "unsealed": complete(make_entry(closed, team, "Warm CNN"), clean=0.984, left=LEFT),
    }
