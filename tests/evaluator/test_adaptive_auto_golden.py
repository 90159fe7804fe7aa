"""Every reference entry, as the benchmark judges it: it falls, and the flags that must fire do."""

from __future__ import annotations

import pytest

from benchmarks.honesty import judge, naive
from evaluator.data import examples
from evaluator.defenses.reference.golden import GOLDEN, Golden
from evaluator.host.load import load_submission
from evaluator.spec import DataSpec


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.name)
def test_a_reference_entry_falls_and_its_flags_fire(golden: Golden) -> None:
    verdict = judge(golden, examples(DataSpec(dataset="mnist", split="test", examples=16)), quick=True)
    fired = {flag.check for flag in verdict.flags}
    assert set(golden.flags) <= fired
    if golden.falls:
        assert int(verdict.robust.sum()) == 0
    if golden.vouched:
        assert [flag.check for flag in verdict.flags if flag.severity == "unverified"] == []


@pytest.mark.nightly
@pytest.mark.timeout(300)
@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.name)
def test_naive_pgd_believes_what_the_golden_line_says(golden: Golden) -> None:
    part = examples(DataSpec(dataset="mnist", split="test", examples=16))
    stand = float(naive(load_submission(golden.folder), part).double().mean())
    assert stand == pytest.approx(golden.claimed, abs=0.25)
