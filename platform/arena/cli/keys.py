"""The key that signs what this machine evaluates."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evaluator.records.receipt import load_key


def signing_key() -> Ed25519PrivateKey:
    """The key at REDOUBT_SIGNING_KEY, or in the user's configuration folder; made on first use."""
    named = os.environ.get("REDOUBT_SIGNING_KEY")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return load_key(Path(named) if named else config / "redoubt" / "signing-key.pem")
