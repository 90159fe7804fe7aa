"""Writes requirements.txt and requirements-peers.txt: the exact versions installed in this environment.

Run after changing dependencies in pyproject.toml and installing them by hand: `.venv/bin/python deploy/dev/lock.py`.
Both files are installed with --no-deps: one peer (torchattacks) asks for an older requests than the Docker SDK needs,
and an unpinned torch would bring several gigabytes of CUDA packages.
"""

from __future__ import annotations

import importlib.metadata as metadata
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def closure(requirements: list[str]) -> dict[str, str]:
    """Every distribution that `requirements` need here, with its installed version."""
    found: dict[str, str] = {}
    queue = [Requirement(text) for text in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while queue:
        requirement = queue.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if name == "redoubt" or (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # the lock holds what is installed; a peer's unused dependency may not be
            continue
        found[name] = distribution.version.partition("+")[0]
        for text in distribution.requires or []:
            inner = Requirement(text)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras or {""}):
                queue.append(inner)
    return found


def write(path: Path, found: dict[str, str], note: str) -> None:
    lines = [f"{name}=={version}" for name, version in sorted(found.items())]
    path.write_text("\n".join([f"# {note}", "# Made by deploy/dev/lock.py; install with --no-deps.", *lines]) + "\n")


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    build = project["build-system"]["requires"]
    wanted = [*project["project"]["dependencies"], *extras["production"], *extras["dev"], *build]
    base = closure([*wanted, "packaging", "editables"])
    peers = closure(extras["bench"])
    write(ROOT / "requirements.txt", base, "Everything Redoubt runs, tests and checks with.")
    rest = {name: version for name, version in peers.items() if name not in base}
    write(ROOT / "requirements-peers.txt", rest, "Peers: oracles of the tests and opponents of the benchmarks.")


if __name__ == "__main__":
    main()
