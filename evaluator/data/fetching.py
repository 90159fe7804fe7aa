"""Getting a data set onto this machine: tries its sources in order, checks every digest, keeps the files in a cache.

Torch-free. The cache is the folder named by REDOUBT_CACHE, else ~/.cache/redoubt. A file appears there by one rename of
a finished, checked copy, so that several processes may fetch at once and a killed one leaves nothing half-written.
"""

from __future__ import annotations

import difflib
import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evaluator.data.cifar10 import CIFAR10
from evaluator.data.digests import PinnedFile
from evaluator.data.mnist import MNIST
from evaluator.data.recipe import Recipe
from evaluator.data.sources import SourceError
from evaluator.errors import InputError, PlatformError

RECIPES = {recipe.name: recipe for recipe in (MNIST, CIFAR10)}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetching:
    """One step of a running fetch: the source that is being tried, and the bytes it has written so far."""

    source: str
    bytes: int


def find_recipe(dataset: str) -> Recipe:
    """The data set of that name. Raises InputError naming the nearest one."""
    if dataset not in RECIPES:
        near = difflib.get_close_matches(dataset, RECIPES, n=1)
        hint = f'Did you mean "{near[0]}"?' if near else f"Known data sets: {', '.join(RECIPES)}."
        raise InputError(f'there is no data set named "{dataset}".', help=hint)
    return RECIPES[dataset]


def cache_folder() -> Path:
    """Where data sets are kept: REDOUBT_CACHE, else ~/.cache/redoubt."""
    setting = os.environ.get("REDOUBT_CACHE", "").strip()
    return Path(setting).expanduser() if setting else Path.home() / ".cache" / "redoubt"


def fetch(dataset: str, *, on_progress: Callable[[Fetching], None] = lambda step: None) -> Path:
    """Returns the folder that holds the data set's files, every digest just checked; fetches what is missing.

    Raises InputError for an unknown data set, PlatformError("data", ...) that names every source tried and why it failed.
    """
    recipe = find_recipe(dataset)
    folder = cache_folder() / recipe.name
    faults = _faults(recipe.files, folder)
    if not faults:
        return folder
    if folder.is_dir() and any(folder.iterdir()):
        _log.warning("%s in the cache is not whole and is fetched again: %s", recipe.title, "; ".join(faults))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _fetch_into(recipe, folder, on_progress)
    except OSError as error:
        help = "Free the disk, or set REDOUBT_CACHE to a folder that can be written."
        raise PlatformError("data", f"the cache cannot be written: {error}.", where=str(folder), help=help) from error
    return folder


def _fetch_into(recipe: Recipe, folder: Path, on_progress: Callable[[Fetching], None]) -> None:
    """Tries the sources in order; the first whose files all have the right digest fills `folder`."""
    tried = []
    for source in recipe.sources:
        on_progress(Fetching(source.name, 0))
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{recipe.name}-") as work:
            try:
                source.deliver(Path(work), lambda count, name=source.name: on_progress(Fetching(name, count)))  # type: ignore[misc]
                faults = _faults(recipe.files, Path(work))
                if faults:
                    raise SourceError(f"refused, {'; '.join(faults)}")
            except SourceError as failure:
                tried.append(f"{source.name} ({failure})")
                _log.info("%s: passed over %s", recipe.title, tried[-1])
                continue
            for file in recipe.files:
                Path(work, file.name).replace(folder / file.name)
            return
    raise PlatformError(
        "data",
        f"{recipe.title} could not be had. Tried, in this order: {'; '.join(tried)}.",
        help=f"Put {', '.join(file.name for file in recipe.files)} into a folder and set {recipe.setting} to it.",
    )


def _faults(files: tuple[PinnedFile, ...], folder: Path) -> list[str]:
    return [fault for file in files if (fault := file.fault(folder / file.name))]
