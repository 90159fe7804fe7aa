"""Which code judges: its version, a digest of its source, and how it judges. Torch-free.

Two evaluators with the same digest are the same code. Most changes of the code change no verdict, so verdicts are compared by
`JUDGING` instead, a number that people raise.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

JUDGING = 1
"""Raised with every change after which the same entry on the same seed may get another verdict: a search, a check, a bound, a
verification. Boards rank verdicts of one number together and no others; those of another are queued again on request."""


@cache
def source_digest() -> str:
    """SHA-256 over the names and bytes of this package's Python files, in the order of their names."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
