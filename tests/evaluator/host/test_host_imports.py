"""A host loads what it answers with, and nothing else: its start is most of what a short evaluation costs."""

from __future__ import annotations

import subprocess
import sys

NEEDLESS = ("scipy", "PIL", "evaluator.attacks", "evaluator.threats", "evaluator.ensembles", "evaluator.certify")


def test_a_host_that_starts_loads_no_attack_no_threat_and_no_statistics() -> None:
    code = "import sys, evaluator.host.serve; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "evaluator.host.serve" in loaded
    assert not set(NEEDLESS) & set(loaded)


ANSWERS = """
import sys, torch
from torch import nn
from evaluator.host.serve import Host
from evaluator.host.wire import Message

host = Host(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)))
host.answer(Message("forward", {"keep": "one"}, {"x": torch.rand(2, 1, 2, 2)}))
answer = host.answer(Message("vjp", {"keep": "one"}, {"cotangent": torch.rand(2, 3)}))
print(answer.op, "sympy" in sys.modules)
"""


def test_an_answered_gradient_brings_no_algebra_along() -> None:
    """Autograd imports sympy where it is given a cotangent."""
    said = subprocess.run([sys.executable, "-c", ANSWERS], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "gradient False"
