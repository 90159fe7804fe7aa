"""Measured tables in docs/benchmarks.md: each benchmark owns one section and replaces it when it is run with --write."""

from __future__ import annotations

import datetime
import os
import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path

import torch

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
_TITLE = (
    "# Benchmarks\n\nEvery table is printed by the command above it, and put here by its `--write`. "
    "Ratios are taken in one run on one machine.\n"
)


def provenance(*peers: str) -> str:
    """The command, the date, the versions and the machine, in one line."""
    command = f"python -m benchmarks.{Path(sys.argv[0]).stem} {' '.join(sys.argv[1:])}".replace(" --write", "").strip()
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", *peers))
    count = torch.get_num_threads()
    threads = f"{os.cpu_count()} processors, {count} thread{'s' if count > 1 else ''}"
    return f"`{command}`, {datetime.datetime.now(tz=datetime.UTC).date()}, {libraries}, {platform.machine()}, {threads}."


def write_section(heading: str, text: str, page: Path = PAGE) -> None:
    """Puts `text` (Markdown) under `## heading`, in the place of what was there."""
    old = page.read_text() if page.is_file() else _TITLE
    section = f"## {heading}\n\n{text.strip()}\n"
    pattern = re.compile(rf"^## {re.escape(heading)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    new, found = pattern.subn(lambda _: section + "\n", old, count=1)
    page.write_text((new if found else f"{old.rstrip()}\n\n{section}").rstrip() + "\n")
