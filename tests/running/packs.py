"""Small packs and submissions for tests that run the real runner in the real sandbox."""

from __future__ import annotations

import shutil
from pathlib import Path

import evaluator
from evaluator.manifests.challenge_packs import load_pack
from evaluator.manifests.spec import Pack

BASELINE = Path(evaluator.__file__).parent / "defenses" / "baselines" / "mnist-standard"
HONEST = """
from pathlib import Path
from evaluator.defenses.architectures import load_weights

def load(directory):
    return load_weights("mnist-cnn", Path(directory) / "weights.safetensors")
"""


def small_pack(
    folder: Path,
    *,
    examples: int = 12,
    shard: int = 6,
    epsilon: float = 0.08,
    reply_seconds: int = 30,
    memory_mb: int = 2048,
) -> Pack:
    """A pack on the first MNIST test images."""
    folder = folder / "small-mnist"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "challenge.toml").write_text(
        f'title = "Small MNIST"\n[data]\ndataset = "mnist"\nexamples = {examples}\n'
        f'[threat]\nkind = "linf"\nepsilon = {epsilon}\n'
        f"[evaluation]\nshard_examples = {shard}\n[limits]\nreply_seconds = {reply_seconds}\nmemory_mb = {memory_mb}\n"
    )
    return load_pack(folder)


def python_submission(folder: Path, code: str = HONEST) -> Path:
    """The standard baseline's weights behind a Python defense."""
    folder.mkdir(parents=True)
    (folder / "defense.toml").write_text('name = "In Python"\nformat = "python"\nentry = "defense.py"\n')
    (folder / "defense.py").write_text(code)
    shutil.copy(BASELINE / "weights.safetensors", folder)
    return folder
