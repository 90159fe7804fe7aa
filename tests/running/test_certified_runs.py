"""Certificates in the official evaluation: asked for in defense.toml, computed here, merged from shards."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from packs import BASELINE, python_submission, small_pack

from arena.running.defense import Request, run_defense
from arena.running.merging import merge
from evaluator.manifests.spec import Pack
from evaluator.records import receipt
from evaluator.records.certificate_record import unpack_radii
from evaluator.records.report import Completed, Outcome, Report, SubmissionFailed
from sandbox.choose import open_sandbox

EXAMPLES = 4
HALVES = ((0, 2), (2, 4))


def tiny_ball(folder: Path, kind: str, epsilon: float) -> Pack:
    """A pack whose perturbations are so small that cheap bounds prove something."""
    pack = small_pack(folder, examples=EXAMPLES, shard=EXAMPLES // 2)
    changed = pack.challenge.model_dump()
    changed["threat"] = {"kind": kind, "epsilon": epsilon}
    return pack.model_copy(update={"challenge": type(pack.challenge).model_validate(changed)})


def asking(folder: Path, table: str) -> Path:
    shutil.copytree(BASELINE, folder)
    with (folder / "defense.toml").open("a") as manifest:
        manifest.write(f"\n[certificate]\n{table}\n")
    return folder


def run(pack: Pack, submission: Path, shard: tuple[int, int] | None = None) -> Outcome:
    return run_defense(Request(pack=pack, submission=submission, seed=3, shard=shard), sandbox=open_sandbox("auto"))


def report_of(outcome: Outcome) -> Report:
    assert isinstance(outcome, Completed), outcome
    return outcome.report


@pytest.mark.slow
def test_bounds_of_the_network_itself_make_the_lower_end_of_the_bracket_and_shards_merge(tmp_path: Path) -> None:
    pack = tiny_ball(tmp_path, "linf", 0.002)
    submission = asking(tmp_path / "s", 'method = "crown"\niterations = 0')
    whole = report_of(run(pack, submission))
    assert whole.certificate is not None
    assert whole.certified_accuracy == sum(whole.certified_bits) / EXAMPLES > 0
    assert all(proven <= robust for proven, robust in zip(whole.certified_bits, whole.robust_bits, strict=True))
    parts = [run(pack, submission, half) for half in HALVES]
    assert receipt.compare(whole, report_of(merge(parts))) == []


@pytest.mark.slow
def test_a_smoothed_certificate_is_computed_through_the_sandbox_and_speaks_for_the_smoothed_classifier(tmp_path: Path) -> None:
    submission = python_submission(tmp_path / "s")
    with (submission / "defense.toml").open("a") as manifest:
        manifest.write('\n[certificate]\nmethod = "smoothing"\nsigma = 0.25\nn = 500\n')
    report = report_of(run(tiny_ball(tmp_path, "l2", 0.1), submission))
    assert report.certificate is not None
    assert (report.certificate.classifier, report.certified_accuracy) == ("smoothed", None)
    assert report.certificate.accuracy > 0.5
    assert report.certificate.refuted == []


@pytest.mark.slow
def test_a_certified_board_gets_every_examples_radius_and_shards_give_the_same(tmp_path: Path) -> None:
    pack = tiny_ball(tmp_path, "l2", 0.25)
    table = pack.challenge.model_dump() | {"certified": {"radii": (0.0, 0.25, 0.5), "samples": 400}}
    pack = pack.model_copy(update={"challenge": type(pack.challenge).model_validate(table)})
    submission = BASELINE.parent / "mnist-smooth"
    whole = report_of(run(pack, submission)).certificate
    assert whole is not None
    assert (whole.parameters["n"], whole.parameters["alpha"], whole.classifier) == (400, 0.001, "smoothed")
    assert whole.expected_false == pytest.approx(0.001 * EXAMPLES)
    radius = unpack_radii(whole.radius)
    assert whole.accuracies == [float((radius >= r).mean()) for r in (0.0, 0.25, 0.5)]
    assert whole.bits == [int(r >= 0.25) for r in radius]
    assert all(proven <= stands for proven, stands in zip(whole.bits, whole.empirical_bits, strict=True))
    assert whole.accuracy > 0.7
    parts = [run(pack, submission, half) for half in HALVES]
    joined = report_of(merge(parts)).certificate
    assert joined is not None
    different = {"seconds": 0.0}
    assert joined.model_copy(update=different) == whole.model_copy(update=different)


def test_a_certificate_that_cannot_be_had_fails_before_anything_is_computed(tmp_path: Path) -> None:
    outcome = run(tiny_ball(tmp_path, "linf", 0.1), asking(tmp_path / "s", 'method = "smoothing"\nsigma = 0.25'))
    assert isinstance(outcome, SubmissionFailed)
    assert outcome.reason == "manifest"
    assert "says nothing about linf" in outcome.detail
    assert "defense.toml" in outcome.detail
