"""What boards rank by is written in one place: two writers that disagree would let a standing rise."""

from __future__ import annotations

import ast
from pathlib import Path

ARENA = Path(__file__).parents[2] / "platform" / "arena"
WRITES = {"update", "create", "get_or_create", "update_or_create", "bulk_update"}


def test_robust_accuracy_of_an_evaluation_has_one_writer() -> None:
    found = set()
    for file in ARENA.rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr not in WRITES:
                continue
            if "Evaluation.objects" in ast.unparse(call.func) and "robust_accuracy" in ast.unparse(call):
                found.add(str(file.relative_to(ARENA)))
    assert found == {"evaluations/services.py"}


def test_the_official_judge_leaves_it_to_that_writer() -> None:
    keys = {
        node.value
        for node in ast.walk(ast.parse((ARENA / "evaluations" / "official.py").read_text()))
        if isinstance(node, ast.Constant)
    }
    assert "clean_accuracy" in keys
    assert "robust_accuracy" not in keys
