"""What holds for the tree as a whole: the layout's rules, and that the README's promises are commands that exist."""

from __future__ import annotations

import ast
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_the_source_root_named_platform_never_shadows_the_standard_library() -> None:
    assert not list((ROOT / "platform").glob("*.py"))
    assert platform.python_version()


def test_every_make_target_of_the_documents_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    documents = (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    for target in re.findall(r"^make ([a-z-]+)", documents, re.MULTILINE):
        assert f"\n{target}:" in makefile, target


@pytest.mark.parametrize("document", ["README.md"])
def test_python_in_the_documents_runs(document: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        done = subprocess.run([sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr


def test_shipped_weights_stay_small() -> None:
    for weights in ROOT.glob("evaluator/**/*.safetensors"):
        assert weights.stat().st_size < 2_000_000, weights


PACKAGES = ("benchmarks", "evaluator", "platform/arena", "sandbox")


def test_every_package_says_in_one_sentence_what_it_is() -> None:
    """A folder with code is a package or a submission; a package's docstring begins with one sentence of its own line."""
    for folder in sorted({file.parent for root in PACKAGES for file in (ROOT / root).rglob("*.py")}):
        if folder.name == "migrations" or (folder / "defense.toml").exists():
            continue
        init = folder / "__init__.py"
        assert init.exists(), f"{folder}: holds code and no __init__.py"
        said = (ast.get_docstring(ast.parse(init.read_text())) or "").split("\n\n")[0]
        assert re.fullmatch(r"\S+( \S+){3,}\.", said), f"{init}: {said!r} is no sentence"
        assert not re.search(r"[.!?] \w", said), f"{init}: {said!r} is more than one sentence"


def test_every_name_that_the_search_for_dead_code_passes_over_still_exists() -> None:
    allowed = ast.parse((ROOT / "deploy/dev/vulture_allowed.py").read_text())
    code = "\n".join(file.read_text() for root in PACKAGES for file in (ROOT / root).rglob("*.py"))
    names = {node.id for node in ast.walk(allowed) if isinstance(node, ast.Name)}
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", code)] == []
