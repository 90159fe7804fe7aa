"""An organiser's own images: frozen by the digests of their files, read once, kept in the cache. Torch-free.

`path` in `[data]` names an .npz (`own_arrays`) or a folder with one folder of images for each class (`own_pictures`). Beside
it lies `<path>.sha256`, in the format of sha256sum: one line a file. Its digest stands in challenge.toml, so that the manifest
alone says which images rank, on whatever machine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from evaluator.data.fetching import cache_folder
from evaluator.data.own_arrays import read_npz
from evaluator.data.own_pictures import SYSTEM_FILES, read_folder
from evaluator.data.recipe import Arrays
from evaluator.errors import InputError, PlatformError
from evaluator.manifests.challenge_packs import PACKS, load_pack
from evaluator.manifests.data_specs import DataSpec
from evaluator.manifests.spec import Pack

_FREEZE = "Run `redoubt challenge freeze` on the pack's folder."


def open_pack(where: str | Path, *, root: Path = PACKS) -> Pack:
    """`load_pack`, with the pack's own images in the cache. Raises InputError naming what is wrong with either."""
    pack = load_pack(where, root=root)
    if pack.challenge.data.dataset == "files" and pack.folder is not None:
        keep(pack.challenge.data, pack.folder)
    return pack


def listing(folder: Path, path: str) -> str:
    """The lines of `<path>.sha256`: digest and name of every file, sorted by name.

    folder: the pack's. Raises InputError where there is no such file or folder, or a link leads out of the pack.
    """
    root = folder / path
    if not root.exists():
        raise InputError("there is no such file or folder.", where=path, help="`path` is relative to the pack's folder.")
    files = sorted(file for file in root.rglob("*") if file.is_file()) if root.is_dir() else [root]
    lines = []
    for file in files:
        name = file.relative_to(folder).as_posix()
        if not file.resolve().is_relative_to(folder.resolve()):
            raise InputError("is a link that leads out of the pack.", where=name, help="Copy the file into the pack.")
        if file.name not in SYSTEM_FILES:
            with file.open("rb") as stream:
                lines.append(f"{hashlib.file_digest(stream, 'sha256').hexdigest()}  {name}\n")
    return "".join(lines)


def digest_of(lines: str) -> str:
    """SHA-256 of a listing."""
    return hashlib.sha256(lines.encode()).hexdigest()


def read(spec: DataSpec, folder: Path, path: str) -> Arrays:
    """The images and labels at `path` in the pack's folder, checked. Raises InputError naming file, row or class."""
    source = folder / path
    arrays = read_folder(source, spec, where=path) if source.is_dir() else read_npz(source, spec, where=path)
    _complete(arrays, spec, where=path)
    return arrays


def keep(spec: DataSpec, folder: Path) -> None:
    """Puts the pack's images into the cache, from where `load` takes them.

    Raises InputError for images that are wrong, are not frozen, or have changed since: it names the file.
    """
    for path, digest in ((spec.path, spec.digest), (spec.train, spec.train_digest)):
        if path is None:
            continue
        lines = listing(folder, path)
        if not digest:
            raise InputError("the images are not frozen.", where=path, help=_FREEZE)
        if digest_of(lines) != digest:
            changed = _changed(lines, folder / f"{path}.sha256")
            raise InputError("has changed since the pack was frozen.", where=changed or path, help=f"Restore it. Or: {_FREEZE}")
        if not cached(digest).is_file():
            arrays = read(spec, folder, path)
            if path == spec.path and spec.examples > len(arrays.labels):
                what = f"data.examples: must be at most {len(arrays.labels)}, the images in {path}, not {spec.examples}."
                raise InputError(what, where="challenge.toml")
            with _written(cached(digest)) as stream:
                np.savez(stream, x=arrays.images, y=arrays.labels)


def cached(digest: str) -> Path:
    """Where the cache holds the images of that digest."""
    return cache_folder() / "files" / f"{digest}.npz"


def load(digest: str) -> Arrays:
    """The images of a frozen pack. Raises PlatformError("data", ...) where this machine has not got them."""
    file = cached(digest)
    try:
        with np.load(file, allow_pickle=False) as found:
            return Arrays(found["x"], found["y"])
    except FileNotFoundError as error:
        help = "Load or publish the pack from its folder on this machine."
        raise PlatformError("data", "the organiser's images are not on this machine.", where=file.name, help=help) from error


def take(digest: str, images: IO[bytes]) -> None:
    """Puts what the cache of another machine held into this one's."""
    with _written(cached(digest)) as stream:
        shutil.copyfileobj(images, stream)


@contextmanager
def _written(file: Path) -> Iterator[IO[bytes]]:
    """A file that appears whole, by one rename, or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        Path(name).replace(file)
    finally:
        Path(name).unlink(missing_ok=True)


def _changed(lines: str, frozen: Path) -> str:
    """The first file that differs from the frozen listing; "" where that is not there."""
    before = set(frozen.read_text().splitlines()) if frozen.is_file() else set()
    different = sorted(set(lines.splitlines()) ^ before, key=lambda line: line[66:]) if before else []
    return different[0][66:] if different else ""


def _complete(arrays: Arrays, spec: DataSpec, *, where: str) -> None:
    """Raises InputError for a class without an image, or an image that is there twice."""
    counts = np.bincount(arrays.labels, minlength=len(spec.classes))
    if empty := [name for name, count in zip(spec.classes, counts, strict=True) if not count]:
        raise InputError(f'class "{empty[0]}" has no image.', where=where, help="Add some, or drop it from `classes`.")
    seen: dict[bytes, int] = {}
    for row, image in enumerate(arrays.images):
        first = seen.setdefault(hashlib.sha256(image.tobytes()).digest(), row)
        if first != row:
            raise InputError(f"images {first} and {row} are the same.", where=where, help="Keep one of them.")
