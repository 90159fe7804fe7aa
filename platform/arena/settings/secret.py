"""The embedded installation's secret key: made once, kept in the data folder, readable by its owner only."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def load_or_make(path: Path) -> str:
    """The key stored at `path`; makes one when there is none. Two processes starting at once agree on one key."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    if not path.exists():
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT, 0o600), "w") as stream:
                stream.write(secrets.token_urlsafe(50))
            with suppress(FileExistsError):
                os.link(fresh, path)
        finally:  # with a full disk it is empty
            fresh.unlink()
    return path.read_text()
