"""The lock: exact versions for Linux (CPU or CUDA) and macOS, written to requirements/ and checked there.

    .venv/bin/python deploy/dev/lock.py             resolves pyproject.toml again, keeping every version that still fits
    .venv/bin/python deploy/dev/lock.py --upgrade   takes the newest versions instead
    .venv/bin/python deploy/dev/lock.py --check     proves the lock complete for systems that are not this one; installs nothing

production.txt is what Redoubt runs with, dev.txt what it is tested, checked and built with besides. constraints.txt holds the
versions of what only some systems need, such as the libraries of torch's CUDA build: pip installs them where something asks for
them. peers.txt are the oracles of the tests and the opponents of the benchmarks, installed apart, without their dependencies.
Resolving reads packages' metadata from the index that uv is set up for, which is PyPI unless UV_DEFAULT_INDEX names another.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "requirements"
Pins = dict[str, str]
HEADERS = {
    "production": ("What Redoubt runs with.", "-c constraints.txt\n"),
    "dev": ("What Redoubt is tested, checked and built with besides; installed together with production.txt.", ""),
    "constraints": ("Versions of what only some systems need; installed where something asks for it.", ""),
    "peers": ("Oracles of the tests and opponents of the benchmarks; installed apart, with --no-deps.", ""),
}


@dataclass(frozen=True)
class Target:
    """What to resolve for. platform: uv's name for it; system: its `sys_platform`; cuda: whether its torch is a CUDA build."""

    title: str
    platform: str
    system: str
    cuda: bool
    python: str


SYSTEMS = (
    ("Linux x86-64", "x86_64-manylinux_2_28", "linux", True),
    ("Linux arm64", "aarch64-manylinux_2_28", "linux", True),
    ("macOS arm64", "aarch64-apple-darwin", "darwin", False),
)
TARGETS = [Target(*system, python) for system in SYSTEMS for python in ("3.11", "3.12")]


def resolve(target: Target, sources: list[str], constraints: Pins) -> Pins:
    """What pip would install there: versions by name. sources: arguments of `uv pip compile`. Exits where nothing fits."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{name}=={version}\n" for name, version in constraints.items()))
        file.flush()
        command = [
            sys.executable,
            "-m",
            "uv",
            "pip",
            "compile",
            "--quiet",
            "--no-header",
            "--no-annotate",
            "--only-binary=:all:",
        ]
        command += [
            "--python-platform",
            target.platform,
            "--python-version",
            target.python,
            "--constraint",
            file.name,
            *sources,
        ]
        env = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"}  # what torch's wheels for macOS ask for
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"lock: {target.title}, Python {target.python}: {sources} cannot be resolved:\n{done.stderr}")
    pins = [Requirement(line) for line in done.stdout.splitlines() if "==" in line]
    return {canonicalize_name(pin.name): version_of(pin) for pin in pins}


def version_of(pin: Requirement) -> str:
    return next(iter(pin.specifier)).version


def read(name: str) -> list[Requirement]:
    """The pins of requirements/NAME.txt."""
    path = FOLDER / f"{name}.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return [Requirement(line) for line in lines if line and line[0] not in "#-"]


def kept() -> Pins:
    """Every version that the lock names now."""
    return {pin.name: version_of(pin) for name in HEADERS for pin in read(name)}


def write(constraints: Pins) -> None:
    """Resolves for every target, with one version of a package for all of them, and writes the four files."""
    agreed = dict(constraints)

    def everywhere(extra: str) -> dict[str, set[str]]:
        """The systems that ask for each package."""
        asking: dict[str, set[str]] = {}
        for target in TARGETS:
            pins = resolve(target, ["pyproject.toml", "--extra", extra], agreed)
            agreed.update(pins)
            for name in pins:
                asking.setdefault(name, set()).add(target.system)
        return asking

    everything, peers = everywhere("dev"), everywhere("bench")
    production = everywhere("production")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]
    direct = {canonicalize_name(Requirement(text).name) for text in named}
    systems = {target.system for target in TARGETS}
    some = {name for name, asking in everything.items() if asking != systems and name not in direct}
    parts = {
        "production": production.keys() - some,
        "dev": everything.keys() - production.keys() - some,
        "constraints": some,
        "peers": peers.keys() - everything.keys(),
    }
    FOLDER.mkdir(exist_ok=True)
    for part, names in parts.items():
        lines = []
        for name in sorted(names):
            asking = systems if part == "constraints" else {**peers, **everything}[name]
            marker = "" if asking == systems else f" ; sys_platform == '{min(asking)}'"
            lines.append(f"{name}=={agreed[name]}{marker}\n")
        note, options = HEADERS[part]
        (FOLDER / f"{part}.txt").write_text(f"# {note}\n# Made by deploy/dev/lock.py.\n{options}{''.join(lines)}")


def check() -> list[str]:
    """What is wrong with the lock: one sentence each."""
    versions, optional = kept(), {pin.name for pin in read("constraints")}

    def wrong(target: Target) -> list[str]:
        there = {"sys_platform": target.system, "python_version": target.python}
        found, listed, files = [], set[str](), list[str]()
        for part in ("production", "dev"):
            files.append(f"requirements/{part}.txt")
            wanted = resolve(target, ["pyproject.toml", "--extra", part], versions)
            listed |= {pin.name for pin in read(part) if pin.marker is None or pin.marker.evaluate(there)}
            found += [f"{part}.txt lacks {name}" for name in wanted.keys() - listed - optional]
            found += [f"{part}.txt names {name}, which nothing asks for" for name in listed - wanted.keys()]
            if resolve(target, files, {}) != wanted:
                found.append(f"{part}.txt gives something else than pyproject.toml with its versions")
            if target.cuda and not any(name.startswith("nvidia-") for name in wanted):
                found.append("the index shows no CUDA build of torch: name PyPI with UV_DEFAULT_INDEX")
        return [f"{target.title}, Python {target.python}: {text}" for text in found]

    with ThreadPoolExecutor(4) as pool:
        return [text for texts in pool.map(wrong, TARGETS) for text in texts]


def main() -> None:
    arguments = sys.argv[1:]
    if arguments not in ([], ["--upgrade"], ["--check"]):
        sys.exit("usage: lock.py [--upgrade | --check]")
    if arguments != ["--check"]:
        write({} if arguments else kept())
    if faults := check():
        sys.exit("\n".join([*faults, "Mend it: .venv/bin/python deploy/dev/lock.py"]))
    titles = dict.fromkeys(f"{target.title}{' with CUDA' if target.cuda else ''}" for target in TARGETS)
    print(f"lock: complete for {', '.join(titles)}; Python 3.11 and 3.12; {len(read('constraints'))} packages only for some")


if __name__ == "__main__":
    main()
