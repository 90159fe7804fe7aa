"""The golden entries of every pack get the scores that an honest evaluator gives them, in the real sandbox."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from arena.running.defense import Request, run_defense
from arena.running.listening import Listener
from evaluator.manifests.challenge_packs import PACKS, golden_folder, list_packs, load_golden, load_pack
from evaluator.records.report import Completed
from sandbox import open_sandbox

NIGHTLY = {"mnist-l1"}  # half a minute an entry


def golden_entries() -> list[object]:
    """(pack, entry) for every golden entry; those of large data sets, which would have to be fetched, run nightly."""
    found = []
    for slug in list_packs():
        pack = load_pack(slug)
        nightly = slug in NIGHTLY or pack.challenge.data.dataset != "mnist"
        marks = [pytest.mark.nightly] if nightly else [pytest.mark.slow]
        found += [pytest.param(slug, entry, marks=marks) for entry in load_golden(pack).entries]
    return found


@pytest.mark.parametrize(("slug", "entry"), golden_entries())
def test_a_golden_entry_gets_its_score(slug: str, entry: str) -> None:
    pack = load_pack(slug)
    golden, said = load_golden(pack), list[bytes]()
    expected = golden.entries[entry]
    submission = golden_folder(pack, entry, expected)
    request = Request(pack=pack, submission=submission, seed=golden.seed, examples=expected.examples)
    outcome = run_defense(request, sandbox=open_sandbox(), listener=Listener(on_log=said.append))
    assert isinstance(outcome, Completed), f"{outcome} {said[-1:]}"
    assert expected.violations(outcome.report) == []
    assert outcome.report.examples == expected.examples


FLAT = """
import torch
from evaluator.defenses.reference.cheats import Saturated, saturated


class Flat(torch.autograd.Function):
    @staticmethod
    def forward(context, logits):
        return logits.clone()

    @staticmethod
    def backward(context, cotangent):
        return torch.zeros_like(cotangent)


class FlatCheat(Saturated):
    def forward(self, x):
        return Flat.apply(super().forward(x))


def load(directory):
    model = saturated(directory)
    model.__class__ = FlatCheat
    return model
"""


@pytest.mark.nightly
def test_a_defense_that_answers_every_gradient_with_zero_falls_to_the_black_box_and_is_flagged(tmp_path: Path) -> None:
    shutil.copytree(PACKS / "mnist-linf" / "golden" / "cheating", tmp_path / "flat")
    (tmp_path / "flat" / "defense.py").write_text(FLAT)
    request = Request(pack=load_pack("mnist-linf"), submission=tmp_path / "flat", seed=0, examples=20)
    outcome = run_defense(request, sandbox=open_sandbox())
    assert isinstance(outcome, Completed), outcome
    assert outcome.report.robust_accuracy <= 0.05
    assert not outcome.report.verified
