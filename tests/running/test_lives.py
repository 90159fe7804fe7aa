"""A model's processes keep nothing from one another, by any way that was thought of, and what they say is compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from keepers import KEEPER, LOUD, QUIET
from packs import python_submission
from torch import Tensor

from arena.running import lives
from arena.running.lanes import Lane
from arena.running.lives import Lifeline
from evaluator.host.load import read_manifest
from evaluator.host.proxy import RemoteModel
from evaluator.manifests.spec import LimitsSpec
from sandbox import Sandbox
from sandbox.choose import open_sandbox
from tests.sandbox.engine import reachable_engine

WAYS = [*QUIET, *LOUD]


@pytest.fixture(params=["bubblewrap", pytest.param("docker", marks=pytest.mark.docker)])
def backend(request: pytest.FixtureRequest) -> Sandbox:
    return open_sandbox("bubblewrap") if request.param == "bubblewrap" else reachable_engine()


@contextmanager
def lived(folder: Path, code: str, sandbox: Sandbox, columns: int) -> Iterator[tuple[Lane, Lifeline, RemoteModel]]:
    made = python_submission(folder / "entry", code)
    lane = Lane("host", made, read_manifest(made), LimitsSpec(), sandbox, 1, seed=7)
    with lane.line((), lambda log: None) as line:
        yield lane, line, RemoteModel(line, classes=columns)


def said(model: RemoteModel, value: float) -> list[str]:
    """The ways by which the model knew something."""
    answer: Tensor = model(torch.full((2, 1, 2, 2), value))[0]
    return [name for name, read in zip(WAYS, answer.tolist(), strict=True) if read]


def test_no_way_leads_from_one_process_of_a_model_to_the_next(backend: Sandbox, tmp_path: Path) -> None:
    with lived(tmp_path, KEEPER, backend, len(WAYS)) as (_, line, model):
        sandbox = line.running
        assert said(model, 0.5) == []
        within = said(model, 0.5)
        assert {"Counter", "SharedMapping", "Environment", "Orphan", "PipeSize", "Generator"} <= set(within), "the ways work"
        line.renew()
        assert line.running is sandbox, "a sandbox without a trace is used again"
        assert said(model, 1.0) == []
        assert set(LOUD[:4]) <= set(said(model, 0.0)), "the ways through files work"
        line.renew()
        assert line.running is not sandbox, "one that was written to is not"
        assert said(model, 0.0) == []


COUNTS = r"""
import os
import torch
from torch import nn

class Counts(nn.Module):
    passes = 0

    def __init__(self):
        super().__init__()
        self.own = float(int.from_bytes(os.urandom(2), "little"))

    def forward(self, x):
        self.passes += 1
        bright = float(x.mean()) > 0.5
        row = torch.tensor([[float(self.passes > 12), self.own if bright else 0.0, 1.0]])
        return row.expand(len(x), -1) + 0 * x.flatten(1)[:, :1]

def load(directory):
    return Counts()
"""


def test_a_model_that_changes_after_some_passes_never_has_them_and_one_that_differs_is_shown_with_both_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lives, "PASSES", 5)
    monkeypatch.setattr(lives, "PATIENCE", 0.0)
    with lived(tmp_path, COUNTS, open_sandbox("bubblewrap"), 3) as (lane, _, model):
        changed = torch.cat([model(torch.zeros(2, 1, 2, 2))[:1, 0] for _ in range(40)])
        assert not bool(changed.any())
        assert lane.doubts.answers > 0
        assert lane.doubts.taken() == [], "the same answers are no reason for doubt"
        for _ in range(40):
            model(torch.ones(2, 1, 2, 2))
        (flag,) = lane.doubts.taken()
        assert (flag.check, flag.severity) == ("lives", "unverified")
        assert flag.evidence.count("1: ") == 2, flag.evidence
