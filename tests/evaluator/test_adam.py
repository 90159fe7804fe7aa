"""Our Adam is torch's, to the bit, and does not bring torch's compiler along."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from evaluator.adam import Adam


def fitted(ours: bool) -> list[torch.Tensor]:
    """The parameters of a small network after 30 steps at a falling rate."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    x, y = torch.randn(16, 5), torch.randn(16, 3)
    theirs = torch.optim.Adam(network.parameters(), lr=0.05)
    decay = torch.optim.lr_scheduler.ExponentialLR(theirs, 0.98)
    mine = Adam(network.parameters(), 0.05)
    optimizer = mine if ours else theirs
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.mse_loss(network(x), y).backward()
        optimizer.step()
        if ours:
            mine.rate *= 0.98
        else:
            decay.step()
    return [parameter.detach() for parameter in network.parameters()]


def test_every_step_gives_the_bits_of_torchs() -> None:
    assert all(torch.equal(one, other) for one, other in zip(fitted(True), fitted(False), strict=True))


def test_a_substitute_is_fitted_without_torchs_compiler() -> None:
    code = "import sys, torch; from evaluator.adaptive.learned import learn_substitute; x = torch.rand(2, 1, 4, 4); "
    code += "assert learn_substitute(x, x.round()); print('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
