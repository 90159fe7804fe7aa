"""The guides are true: their manifests are accepted, their code runs, their commands and options exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import typer.core
import typer.main
from pydantic import BaseModel

from arena.cli.main import app
from evaluator.host.load import load_submission
from evaluator.manifests.challenge_packs import Golden
from evaluator.manifests.spec import AttackManifest, Challenge, DefenseManifest, parse_toml

ROOT = Path(__file__).resolve().parents[1]
GUIDES = ("defense-submissions.md", "attack-submissions.md", "organising.md", "goals.md")
MANIFESTS: dict[str, tuple[type[BaseModel], ...]] = {
    "defense-submissions.md": (DefenseManifest,),
    "attack-submissions.md": (AttackManifest,),
    "goals.md": (Challenge,),
    "organising.md": (*[Challenge] * 6, Golden),
}


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / document).read_text(), re.DOTALL)


@pytest.mark.parametrize("document", GUIDES)
def test_every_manifest_of_a_guide_is_accepted(document: str) -> None:
    found = blocks(document, "toml")
    assert found
    for position, text in enumerate(found):
        model = MANIFESTS[document][min(position, len(MANIFESTS[document]) - 1)]
        parse_toml(text.encode(), model, where=f"{document}, block {position + 1}")


def test_the_defense_of_the_guide_answers_with_logits(tmp_path: Path) -> None:
    (tmp_path / "defense.toml").write_text(blocks("defense-submissions.md", "toml")[1])
    (tmp_path / "defense.py").write_text(blocks("defense-submissions.md", "python")[0])
    assert load_submission(tmp_path)(torch.rand(2, 1, 28, 28)).shape == (2, 10)


def test_the_library_s_example_attacks_and_judges_a_model() -> None:
    (example,) = blocks("../README.md", "python")
    scope: dict[str, Any] = {}
    exec(example, scope)
    assert scope["x_adv"].shape == (8, 1, 28, 28)
    assert bool(scope["verdict"].correct.all())
    assert int(scope["verdict"].robust.sum()) == 0, "a random linear model withstands nothing"


def test_reading_one_array_loads_no_attacks() -> None:
    """... though the names that a library user needs lie in the same package."""
    code = (
        "import sys, evaluator.judging.array_claims; assert not [m for m in sys.modules if m.startswith('evaluator.attacks')]"
    )
    subprocess.run([sys.executable, "-c", f"{code}; from evaluator.judging import *; evaluate, verify"], check=True)


def commands() -> list[tuple[str, str]]:
    """(document, command) for every shell line in README.md and the guides."""
    found = []
    for document in ("../README.md", *GUIDES):
        for block in blocks(document, "sh"):
            found += [(document, line) for line in block.splitlines() if line.strip()]
    return found


def test_every_redoubt_command_of_the_documents_takes_the_options_it_is_given() -> None:
    known = typer.main.get_command(app)
    assert isinstance(known, typer.core.TyperGroup)
    for document, line in commands():
        words = shlex.split(line, comments=True)
        if not words or not words[0].endswith("redoubt"):
            continue
        command = known.commands.get(words[1])
        assert command is not None, f"{document}: {line}"
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, f"{document}: {line}"


def test_every_manage_command_of_the_documents_exists() -> None:
    for document, line in commands():
        words = shlex.split(line, comments=True)
        if "manage.py" in words:
            name = words[words.index("manage.py") + 1]
            done = subprocess.run(
                [sys.executable, "manage.py", name, "--help"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
            )
            assert done.returncode == 0, f"{document}: {line}\n{done.stderr}"
            assert {word for word in words if word.startswith("--")} <= set(re.findall(r"--[a-z-]+", done.stdout))


def test_links_between_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text()):
            if not re.match(r"[a-z]+:", target):
                assert (document.parent / target).exists(), f"{document.relative_to(ROOT)} links {target}"


def test_every_walk_names_files_that_exist_and_passes_fewer_than_15() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    walks = re.findall(r"^\*\*([^*]+)\*\*.*\n((?:\d+\. .*\n(?:   .*\n)*)+)", text, re.MULTILINE)
    assert {name for name, _ in walks} >= {
        "A row over the wire",
        "Certificate request to bracket",
        "Claim to fall",
        "Upload to board",
        "challenge.toml to page",
    }
    for name, steps in walks:
        passed = re.findall(r"`([a-z_/]+\.(?:py|html))`", steps)
        for file in passed:
            assert (ROOT / file).is_file() or (ROOT / "platform/arena" / file).is_file(), f"{name}: {file} is gone"
        assert len(passed) < 15, f"{name} passes {len(passed)} files"


def test_the_map_names_every_folder_of_evaluator_and_site() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for root in ("evaluator", "platform/arena"):
        for init in (ROOT / root).glob("*/__init__.py"):
            assert f"`{init.parent.name}/`" in text, f"{init.parent} is on no map"
