"""Submitted code that imports torchvision is judged in every sandbox, whatever build of torch is beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from packs import BASELINE, python_submission, small_pack

from arena.running.attack import AttackRequest, run_attack
from arena.running.defense import Request, run_defense
from evaluator.records.cell_report import CellCompleted
from evaluator.records.report import Completed
from sandbox import Sandbox
from sandbox.bubblewrap.sandbox import BubblewrapSandbox
from tests.sandbox.engine import reachable_engine

DEFENSE = """
from pathlib import Path
import torchvision
from torchvision.transforms import v2
from evaluator.defenses.architectures import load_weights
from torch import nn

class Shrunk(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        smaller = v2.functional.resize(x, [14, 14], antialias=True)
        return self.network(v2.functional.resize(smaller, [28, 28], antialias=True))

def load(directory):
    assert torchvision.models.resnet18(num_classes=10) is not None
    return Shrunk(load_weights("mnist-cnn", Path(directory) / "weights.safetensors"))
"""
ATTACK = """
from torchvision.transforms import v2

def attack(model, x, y, threat, budget):
    blurred = v2.functional.gaussian_blur(x, [3, 3])
    return threat.project(x, blurred)
"""


@pytest.fixture(params=["bubblewrap", pytest.param("docker", marks=pytest.mark.docker)])
def backend(request: pytest.FixtureRequest) -> Sandbox:
    return BubblewrapSandbox() if request.param == "bubblewrap" else reachable_engine()


def test_a_defense_that_imports_torchvision_is_judged(backend: Sandbox, tmp_path: Path) -> None:
    pack = small_pack(tmp_path, examples=6, shard=6)
    folder = python_submission(tmp_path / "shrunk", DEFENSE)
    outcome = run_defense(Request(pack, folder, seed=1), sandbox=backend)
    assert isinstance(outcome, Completed), outcome
    assert outcome.report.clean_accuracy > 0.5


def test_an_attack_that_imports_torchvision_is_played(backend: Sandbox, tmp_path: Path) -> None:
    pack = small_pack(tmp_path, examples=6, shard=6)
    folder = tmp_path / "blur"
    folder.mkdir()
    (folder / "attack.toml").write_text('name = "Blur"\nformat = "python"\nentry = "attack.py"\n')
    (folder / "attack.py").write_text(ATTACK)
    outcome = run_attack(AttackRequest(pack=pack, attack=folder, defense=BASELINE, seed=1), sandbox=backend)
    assert isinstance(outcome, CellCompleted), outcome
    assert outcome.report.violations == []
