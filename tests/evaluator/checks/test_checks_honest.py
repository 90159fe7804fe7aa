"""Honest networks raise no flag; the checks cost little, change no verdict, and their page says what the code says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from evaluator.attacks import PGD
from evaluator.attacks.base import Batch
from evaluator.checks import Honest, Subject, examine, registered, sampled
from evaluator.checks.honest import CHECKS
from evaluator.checks.table import markdown
from evaluator.data import examples
from evaluator.data.tensors import Examples
from evaluator.defenses.recipes import BASELINES
from evaluator.draws import Draws
from evaluator.ensembles import Ensemble, Sequence, Stage, standard
from evaluator.host.load import load_submission
from evaluator.judging.defense import Defense
from evaluator.judging.evaluation import Verdict, evaluate
from evaluator.manifests.data_specs import DataSpec
from evaluator.models.meter import Meter, MeteredModel
from evaluator.records.report import AttackRecord
from evaluator.threats import L2, Linf, Threat
from tests.evaluator.support import ROOT, sdp_images, sdp_model, trades_smallcnn


def mnist(count: int = 100) -> Examples:
    return examples(DataSpec(dataset="mnist", split="test", examples=count))


def baseline(name: str) -> nn.Module:
    return load_submission(BASELINES / name)


HONEST: dict[str, tuple[Callable[[], nn.Module], Threat]] = {
    "standard": (lambda: baseline("mnist-standard"), Linf(0.3)),
    "standard, small epsilon": (lambda: baseline("mnist-standard"), Linf(0.03)),
    "standard, L2": (lambda: baseline("mnist-standard"), L2(1.0)),
    "PGD-trained": (lambda: baseline("mnist-pgd"), Linf(0.3)),
    "PGD-trained, L2": (lambda: baseline("mnist-pgd"), L2(1.5)),
    "PGD-trained for L2": (lambda: baseline("mnist-pgd-l2"), L2(2.0)),
    "IBP-trained": (lambda: baseline("mnist-ibp"), Linf(0.3)),
    "trained under noise": (lambda: baseline("mnist-smooth"), L2(0.5)),
    "TRADES": (trades_smallcnn, Linf(0.3)),
    "mixed training on CIFAR-10": (lambda: sdp_model("cifar_cnn_a_mix"), Linf(2 / 255)),
}
CALIBRATION = ("TRADES", "mixed training on CIFAR-10")


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(1, 6))])
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.nightly] * (name in CALIBRATION)) for name in HONEST])
def test_an_honest_network_raises_no_flag(name: str, seed: int) -> None:
    (build, threat), images = HONEST[name], mnist()
    x, y = sdp_images("cifar") if "CIFAR" in name else (images.x, images.y)
    model, draws = build(), Draws(seed, torch.arange(len(x)))
    correct = model(x).argmax(dim=1) == y
    found = examine(Subject(MeteredModel(model, Meter(), classes=10), sampled(Batch(x, y, draws)[correct]), threat))
    assert {f.check: f.evidence for f in found if f.fired} == {}
    assert len(found) == len(registered())


QUICK = Sequence("quick", (Stage("PGD", PGD(steps=10, loss="margin")),))


def judged(model: Callable[[Tensor], Tensor], part: Examples, ensemble: Ensemble) -> Verdict:
    return evaluate(Defense.of(model), part, Linf(0.3), ensemble, seed=0)


def spent_on_checks(verdict: Verdict) -> AttackRecord:
    """The one record of the checks, wherever it stands among the others."""
    (record,) = (attack for attack in verdict.attacks if attack.name == CHECKS)
    return record


def test_the_checks_change_no_bit_of_the_verdict_and_their_rows_are_a_record_of_their_own() -> None:
    part, model = mnist(40), baseline("mnist-pgd")
    plain, doubting = judged(model, part, QUICK), judged(model, part, Honest(QUICK))
    assert torch.equal(plain.points, doubting.points)
    assert torch.equal(plain.robust, doubting.robust)
    assert torch.equal(plain.broken_by, doubting.broken_by)
    checks = spent_on_checks(doubting)
    assert (checks.broken, checks.survivors) == (0, doubting.attacks[0].survivors)
    for rows in ("forward_rows", "backward_rows"):
        more = getattr(doubting, rows) - getattr(plain, rows)
        beside = _beside(doubting, rows) - _beside(plain, rows)
        assert getattr(checks, rows) == more - beside, "the audit asks again about what the checks heard, too"


def _beside(verdict: Verdict, rows: str) -> int:
    """Rows of the audit and of the passes' company: all records but the search's and the checks'."""
    return sum(getattr(record, rows) for record in verdict.attacks[1:] if record.name != CHECKS)


def test_the_checks_cost_10_000_random_points_and_as_many_rows_again_whatever_the_shard() -> None:
    verdict = judged(baseline("mnist-pgd"), mnist(60), Honest(standard(Linf(0.3))))
    record = spent_on_checks(verdict)
    checks = record.forward_rows + 2 * record.backward_rows
    search = verdict.forward_rows + 2 * verdict.backward_rows - checks
    assert 10_000 < checks < 24_000
    assert checks < 80 * search / 60, "as much as the search of 80 robust examples"


def test_an_empty_evaluation_raises_no_flag() -> None:
    verdict = judged(baseline("mnist-standard"), mnist(4)[:0], Honest(QUICK))
    assert verdict.flags == []
    assert spent_on_checks(verdict).tried == 0


def test_a_check_that_fires_is_a_flag_of_the_verdict() -> None:
    model = baseline("mnist-standard")
    verdict = judged(lambda x: model((x * 4).round() / 4), mnist(40), Honest(QUICK))
    assert "zero-gradients" in {flag.check for flag in verdict.flags if flag.severity == "unverified"}


def test_the_page_is_what_the_registry_gives() -> None:
    page = Path(ROOT / "docs" / "honesty.md").read_text()
    assert page == markdown(), "run python -m evaluator.checks.table > docs/honesty.md"


def test_the_page_defines_and_explains_every_check() -> None:
    page = markdown()
    for check in registered():
        for text in (check.name, check.definition, check.meaning, check.remedy):
            assert text in page


def test_every_check_leaves_a_record_with_its_curves() -> None:
    verdict = judged(baseline("mnist-pgd"), mnist(20), Honest(QUICK))
    records = {record.check: record for record in verdict.checks}
    assert set(records) == {check.name for check in registered()}
    assert not any(record.fired for record in records.values())
    shown = {name: [(curve.x, curve.y) for curve in record.curves] for name, record in records.items() if record.curves}
    assert shown["accuracy-rising-with-epsilon"] == [("epsilon", "accuracy")]
    assert shown["more-steps"] == [("steps", "accuracy")]
    assert shown["gradient-accuracy"] == [("distance from the image", "margin")] * 2


def test_the_loss_rises_faster_along_the_gradient_than_along_a_random_direction() -> None:
    records = {record.check: record for record in judged(baseline("mnist-standard"), mnist(20), Honest(QUICK)).checks}
    gradient, chance = records["gradient-accuracy"].curves
    assert gradient.points[0] == chance.points[0], "both begin at the image"
    assert gradient.points[4][0] == pytest.approx(0.3)
    assert gradient.points[2][1] > chance.points[2][1] + 5
