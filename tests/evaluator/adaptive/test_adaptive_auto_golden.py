"""Every reference entry, as the benchmark judges it: it falls, and the flags that must fire do."""

from __future__ import annotations

import pytest

from benchmarks.honesty import judge, naive
from evaluator.data import examples
from evaluator.data.tensors import Examples
from evaluator.defenses.reference.golden import GOLDEN, Golden
from evaluator.host.load import load_submission, read_manifest
from evaluator.judging.evaluation import Verdict
from evaluator.manifests.data_specs import DataSpec
from evaluator.models.meter import Meter, MeteredModel
from evaluator.models.reading import reading_of
from tests.evaluator.support import mnist_test, sdp_images


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.name)
def test_a_reference_entry_falls_and_its_flags_fire(golden: Golden) -> None:
    part = examples(DataSpec(dataset=golden.dataset, split="test", examples=16))
    _falls_with_its_flags(golden, judge(golden, part, quick=True))


FEW = ["jpeg", *(pytest.param(name, marks=pytest.mark.nightly) for name in ("k_bit", "cifar_jpeg", "cifar_k_bit"))]


@pytest.mark.parametrize("name", FEW)
def test_an_entry_falls_on_a_few_images_and_its_flags_fire(name: str) -> None:
    golden = next(golden for golden in GOLDEN if golden.name == name)
    x, y = sdp_images("cifar") if name.startswith("cifar") else mnist_test(20)
    right = (load_submission(golden.folder)(x[:20]).argmax(dim=1) == y[:20]).nonzero().squeeze(1)[:4]
    verdict = judge(golden, Examples(right, x[right], y[right], classes=10), quick=True)
    assert bool(verdict.correct.all())
    _falls_with_its_flags(golden, verdict)


def _falls_with_its_flags(golden: Golden, verdict: Verdict) -> None:
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
    part = examples(DataSpec(dataset=golden.dataset, split="test", examples=16))
    reading = reading_of(read_manifest(golden.folder))
    model = MeteredModel(load_submission(golden.folder), Meter(), classes=10, reading=reading)
    stand = float(naive(model, part, golden.threat, reading).double().mean())
    assert stand == pytest.approx(golden.claimed, abs=0.25)
