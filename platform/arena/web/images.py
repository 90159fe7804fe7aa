"""The ranked images of a challenge as arrays, for pictures and per-class figures. Torch-free; fetches nothing."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluator.data import own
from evaluator.data.fetching import cache_folder, find_recipe
from evaluator.data.recipe import Arrays
from evaluator.manifests.data_specs import DataSpec


def images_of(spec: DataSpec) -> Arrays | None:
    """The split that a challenge ranks on; None where this machine has not got its files."""
    if spec.dataset == "files":
        return _own(spec.digest) if own.cached(spec.digest).is_file() else None
    recipe = find_recipe(spec.dataset)
    paths = [cache_folder() / recipe.name / name for name in recipe.splits[spec.split].files]
    return _read(spec.dataset, spec.split) if all(path.is_file() for path in paths) else None


@lru_cache(maxsize=2)
def _read(dataset: str, split: str) -> Arrays:
    recipe = find_recipe(dataset)
    return recipe.read([cache_folder() / recipe.name / name for name in recipe.splits[split].files])


@lru_cache(maxsize=2)
def _own(digest: str) -> Arrays:
    return own.load(digest)


def png(image: NDArray[np.float64]) -> bytes:
    """(C, H, W) in [0, 1] with one or three channels as a PNG file."""
    shown = (image.clip(0, 1) * 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(shown[0] if len(shown) == 1 else shown.transpose(1, 2, 0)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
