"""The pages about attacks say what the registry and the code say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from evaluator.attacks.registry import entries
from evaluator.attacks.table import markdown

ROOT = Path(__file__).resolve().parents[3]


def test_the_attack_page_is_what_the_registry_gives() -> None:
    assert (ROOT / "docs" / "attacks.md").read_text() == markdown(), "run python -m evaluator.attacks.table > docs/attacks.md"


def test_the_attack_page_names_every_attack_with_its_source() -> None:
    page = markdown()
    for entry in entries():
        assert f"`{entry.name}`" in page
        assert entry.paper in page


def test_the_code_in_writing_an_attack_runs_and_breaks_a_network() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "writing-an-attack.md").read_text(), re.S)
    after = """
import torch
from evaluator.attacks import create
from evaluator.threats import L2, Linf
from tests.evaluator.attack_support import images, net

network, x = net(), images(8)
y = network(x).argmax(dim=1)
for threat in (Linf(0.1), L2(1.0)):
    points = create("momentum", steps=10)(network, x, y, threat)
    assert bool(threat.contains(x, points, slack=0).all())
    assert int((network(points).argmax(dim=1) != y).sum()) >= 6
"""
    # a process of its own, because the block registers an attack
    done = subprocess.run([sys.executable, "-c", code + after], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
