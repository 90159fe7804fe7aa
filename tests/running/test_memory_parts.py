"""A network whose graph of a whole pass is larger than the memory allowed is asked in parts, and answers the same."""

from __future__ import annotations

from pathlib import Path

import torch
from packs import python_submission, small_pack
from torch import Tensor

from arena.running.lanes import Lane
from arena.running.staging import staged
from evaluator.host.load import read_manifest
from sandbox.choose import open_sandbox

WIDE = """
import torch
from torch import nn

def load(directory):
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Conv2d(1, 600, 3, padding=1), nn.ReLU(), nn.Conv2d(600, 8, 3, stride=2), nn.ReLU(), nn.Flatten())
    return nn.Sequential(wide, nn.Linear(8 * 169, 10))
"""


def asked(folder: Path, pack_folder: Path, memory_mb: int) -> tuple[Tensor, Tensor]:
    """Logits and gradient of one pass over 250 images, under that limit."""
    limits = small_pack(pack_folder, memory_mb=memory_mb).challenge.limits
    x = torch.rand(250, 1, 28, 28, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    with staged(folder) as copy:
        lane = Lane("host", copy.folder, read_manifest(copy.folder), limits, open_sandbox("auto"), 1)
        with lane.open(10) as model:
            logits = model(x)
            (gradient,) = torch.autograd.grad(logits.sum(), x)
    return logits.detach(), gradient


def test_a_wide_network_under_a_small_limit_answers_as_under_a_large_one(tmp_path: Path) -> None:
    folder = python_submission(tmp_path / "wide", WIDE)
    small, large = asked(folder, tmp_path / "small", 1400), asked(folder, tmp_path / "large", 4096)
    assert torch.allclose(small[0], large[0], atol=1e-5)
    assert torch.allclose(small[1], large[1], atol=1e-5)
