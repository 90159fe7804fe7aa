"""Judging: from a defense, its images and a threat to verdicts, and to what can be checked again."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evaluator.judging.defense import Defense
    from evaluator.judging.evaluation import Verdict, evaluate
    from evaluator.judging.verification import Checked, verify
    from evaluator.judging.watch import Observer

__all__ = ["Checked", "Defense", "Observer", "Verdict", "evaluate", "verify"]

_HOMES = {
    "Checked": "verification",
    "Defense": "defense",
    "Observer": "watch",
    "Verdict": "evaluation",
    "evaluate": "evaluation",
    "verify": "verification",
}


def __getattr__(name: str) -> object:
    """Imported when it is asked for: a sandbox that reads one array loads no attacks."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
