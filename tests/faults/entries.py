"""A challenge of a few images on which every image falls fast, and Python defenses for it."""

from __future__ import annotations

from pathlib import Path

from evaluator.manifests.challenge_packs import load_pack
from evaluator.manifests.spec import Pack
from tests.running.packs import BASELINE, HONEST
from tests.web.backend_support import zipped

_PACK = """
title = "Small MNIST"
[data]
dataset = "mnist"
examples = 4
[threat]
kind = "linf"
epsilon = 0.3
[evaluation]
shard_examples = 4
"""


def small_pack(folder: Path) -> Pack:
    """Four images in one shard; `folder` gets the pack's files."""
    place = folder / "small-mnist"
    place.mkdir(parents=True, exist_ok=True)
    (place / "challenge.toml").write_text(_PACK)
    return load_pack(place)


def defense(number: int) -> bytes:
    """An archive of the standard baseline behind a Python defense; each number is another entry."""
    return zipped(
        {
            "defense.toml": f'name = "Entry {number}"\nformat = "python"\nentry = "defense.py"\n',
            "defense.py": HONEST,
            "weights.safetensors": (BASELINE / "weights.safetensors").read_bytes(),
        }
    )
