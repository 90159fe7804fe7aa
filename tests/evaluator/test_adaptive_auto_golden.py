"""Every reference entry, as the benchmark judges it: it falls, and the flags that must fire do."""

from __future__ import annotations

import pytest

from benchmarks.honesty import judge
from evaluator.data import examples
from evaluator.defenses.reference.golden import GOLDEN, Golden
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
