"""The command line says when so few examples were used that the canary's silence says little."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from arena.cli.evaluate import CANARY_SAYS, few_for_the_canary
from evaluator.records.report import AttackRecord


def record(name: str, tried: int) -> AttackRecord:
    return AttackRecord(name=name, tried=tried, broken=0, survivors=0, forward_rows=0, backward_rows=0, seconds=0.0)


@pytest.mark.parametrize(
    ("tried", "standing", "said"), [(0, 12, 1), (CANARY_SAYS - 1, 300, 1), (CANARY_SAYS, 300, 0), (0, 0, 0)]
)
def test_few_survivors_that_a_canary_tried_are_said(tried: int, standing: int, said: int) -> None:
    attacks = [record("APGD", 400), record("Square canary", tried)]
    report = SimpleNamespace(attacks=attacks, robust_bits=[1] * standing + [0] * 5)
    lines = few_for_the_canary(report)  # type: ignore[arg-type]
    assert len(lines) == said
    assert all(f"{tried} of {standing} survivors" in line for line in lines)


def test_a_search_without_a_canary_says_nothing_about_one() -> None:
    assert few_for_the_canary(SimpleNamespace(attacks=[record("APGD", 4)], robust_bits=[1])) == []  # type: ignore[arg-type]
