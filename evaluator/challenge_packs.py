"""Finding and reading challenge packs: folders with a `challenge.toml`, a README.md and golden entries. Torch-free."""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path

from evaluator.errors import InputError
from evaluator.spec import Challenge, Pack, load_manifest

PACKS = Path(__file__).resolve().parent.parent / "challenges"


def load_pack(where: str | Path, *, root: Path = PACKS) -> Pack:
    """Loads the pack at a folder, or the one named by a slug below `root`.

    Raises InputError naming the nearest known slug when there is none, or the field that is wrong.
    """
    folder = Path(where)
    if not (folder / "challenge.toml").is_file():
        folder = root / str(where)
    if not (folder / "challenge.toml").is_file():
        near = difflib.get_close_matches(str(where), list_packs(root=root), n=1)
        help = f'Did you mean "{near[0]}"?' if near else f"Known packs: {', '.join(list_packs(root=root)) or 'none'}."
        raise InputError("is neither a folder with a challenge.toml nor a known pack.", where=str(where), help=help)
    challenge = load_manifest(folder / "challenge.toml", Challenge)
    return Pack(slug=folder.resolve().name, folder=folder.resolve(), challenge=challenge, digest=_digest(folder))


def list_packs(*, root: Path = PACKS) -> list[str]:
    """Slugs of the packs below `root`, sorted."""
    return sorted(path.parent.name for path in root.glob("*/challenge.toml"))


def _digest(folder: Path) -> str:
    """SHA-256 of the manifest's bytes: what determines a verdict. The README and the golden entries do not."""
    return hashlib.sha256((folder / "challenge.toml").read_bytes()).hexdigest()
