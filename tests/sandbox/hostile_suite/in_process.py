"""Runs the cases of the two zones that a worker meets in its own process: uploads at the intake, entries in an evaluation."""

from __future__ import annotations

from tests.sandbox.hostile_suite import at_intake
from tests.sandbox.hostile_suite.cases import Case, Outcome


def run(case: Case) -> Outcome:
    """Raises nothing for whatever the submission is or does."""
    if case.zone == "intake":
        return at_intake.run(case)
    from tests.sandbox.hostile_suite.in_evaluation import run as judge  # the one that needs torch

    return judge(case)
