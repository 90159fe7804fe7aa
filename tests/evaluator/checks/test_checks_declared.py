"""`redoubt attack` takes a defense as its manifest declares it: stand-ins, random answers with votes, a detector."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from hosts import hosted, write_submission

from evaluator.attacks import PGD
from evaluator.attacks.base import Batch
from evaluator.checks.declared import Declared, declarations
from evaluator.data import Examples, examples
from evaluator.defenses.reference.golden import FOLDER
from evaluator.draws import Draws
from evaluator.ensembles import Sequence, Stage
from evaluator.host.load import read_manifest
from evaluator.judging.defense import Defense
from evaluator.judging.evaluation import Verdict, evaluate
from evaluator.manifests.spec import DataSpec, DefenseManifest
from evaluator.models.meter import Meter, MeteredModel
from evaluator.models.reading import reading_of
from evaluator.threats import Linf

ATTACK = Sequence("pgd", (Stage("pgd", PGD(steps=5)),))


def manifest(**declared: object) -> DefenseManifest:
    return DefenseManifest.model_validate({"name": "test", "format": "python", "entry": "defense.py", **declared})


def judged(folder: Path, declared: DefenseManifest, part: Examples) -> Verdict:
    return evaluate(
        Defense(lambda: hosted(folder, classes=part.classes), reading_of(declared)),
        part,
        Linf(0.3),
        Declared(ATTACK, declared),
        seed=0,
    )


def test_gradients_go_through_declared_stand_ins() -> None:
    folder = FOLDER / "thermometer"
    own = read_manifest(folder)
    assert own.bpda is not None
    part = examples(DataSpec(dataset="mnist", split="test", examples=8))
    through = judged(folder, own, part)
    past = judged(folder, own.model_copy(update={"bpda": None}), part)
    assert int(through.robust.sum()) < int(past.robust.sum())


@dataclass
class Coin:
    """Answers class 1 with the chance of the pixels' mean, anew in every pass."""

    draws: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        one = torch.rand(len(x), generator=self.draws) < x.flatten(1).mean(dim=1)
        return torch.nn.functional.one_hot(one.long(), 2).float() + 0 * x.flatten(1).sum(dim=1, keepdim=True)


def test_declared_randomness_is_averaged_over() -> None:
    meter, x = Meter(), torch.full((2, 1, 4, 4), 0.5)
    for randomized, passes in ((False, 1), (True, 8)):
        declared = manifest(randomized=randomized)
        batch = Batch(x, torch.zeros(2, dtype=torch.int64), Draws(0, torch.arange(2)), reading=reading_of(declared))
        before = meter.forward_rows
        model = MeteredModel(Coin(), meter, classes=2)
        one = Sequence("once", (Stage("once", PGD(steps=1, random_start=False)),))
        search = Declared(one, declared).run(model, batch, Linf(0.1), lambda step: None)
        assert search.points.shape == x.shape
        assert (meter.forward_rows - before) % passes == 0
        assert meter.forward_rows - before >= 2 * passes


def test_declared_votes_decide_and_leave_no_flag_about_repeating(tmp_path: Path) -> None:
    """Each answer is a fair coin: of 100 images some are answered otherwise by the fresh copy, whatever the seed."""
    code = """
import torch
from torch import nn

class Coin(nn.Module):
    def forward(self, x):
        side = torch.randn(len(x), 1) + 0 * x.flatten(1).sum(dim=1, keepdim=True)
        return torch.cat([side, -side], dim=1)

def load(directory):
    return Coin()
"""
    folder, count = write_submission(tmp_path, code), 100
    part = Examples(torch.arange(count), torch.full((count, 1, 4, 4), 0.5), torch.zeros(count, dtype=torch.int64), 2)
    unheard = judged(folder, manifest(), part)
    heeded = judged(folder, manifest(randomized=True, votes=64), part)
    assert "clean-repeat" in {flag.check for flag in unheard.flags}
    assert heeded.flags == []


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({}, []),
        ({"randomized": True}, ["random answers"]),
        ({"randomized": True, "votes": 8}, ["the majority of 8 counts"]),
        ({"bpda": "bpda.py"}, ["stand-ins"]),
        ({"detector": True}, ["refusals are no breaks"]),
        ({"certificate": {"method": "smoothing", "sigma": 0.25}}, ["this is the plain one"]),
    ],
)
def test_what_is_heeded_is_said(declared: dict[str, object], words: list[str]) -> None:
    said = declarations(manifest(**declared))
    assert len(said) == len(words)
    assert all(word in line for word, line in zip(words, said, strict=True))
