"""An organiser's images as a folder: one folder of PNG, JPEG or BMP files for each class. Torch-free.

The first images of all classes come first, then the second ones, so that the first `examples` hold every class.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluator.data.recipe import Arrays
from evaluator.errors import InputError
from evaluator.manifests.data_specs import DataSpec

SYSTEM_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", ".gitkeep"})
_FORMATS = ("PNG", "JPEG", "BMP")
_ORIENTATION = 0x0112  # EXIF's tag: 1 is upright
_MODES = {1: "L", 3: "RGB"}


def read_folder(root: Path, spec: DataSpec, *, where: str) -> Arrays:
    """Reads and checks every image. where: the folder's name for messages. Raises InputError naming file or class."""
    found = {entry.name for entry in root.iterdir() if entry.name not in SYSTEM_FILES}
    for name in sorted(found ^ set(spec.classes)):
        near = difflib.get_close_matches(name, found if name in spec.classes else spec.classes, n=1)
        help = f'Did you mean "{near[0]}"?' if near else "Each name in `classes` has one folder, and each folder is a class."
        what = f'class "{name}" has no folder.' if name in spec.classes else f'"{name}" is none of `classes`.'
        raise InputError(what, where=where, help=help)
    files = {name: _files(root / name, where=f"{where}/{name}") for name in spec.classes}
    order = sorted((rank, label, file) for label, name in enumerate(spec.classes) for rank, file in enumerate(files[name]))
    images = [_read(file, spec, where=f"{where}/{file.relative_to(root).as_posix()}") for _, _, file in order]
    if not images:
        raise InputError("holds no image.", where=where)
    return Arrays(np.stack(images), np.array([label for _, label, _ in order], dtype=np.int64))


def _files(folder: Path, *, where: str) -> list[Path]:
    if not folder.is_dir():
        raise InputError("is a file; each class is a folder.", where=where)
    return sorted(entry for entry in folder.iterdir() if entry.name not in SYSTEM_FILES)


def _read(file: Path, spec: DataSpec, *, where: str) -> NDArray[np.uint8]:
    """(C, H, W). The size is checked before a pixel is decoded."""
    shape, mode = spec.image_shape, _MODES[spec.image_shape.channels]
    try:
        with Image.open(file, formats=_FORMATS) as image:
            image.verify()  # checksums; the file must be opened again after it
        with Image.open(file, formats=_FORMATS) as image:
            if image.size != (shape.width, shape.height):
                what = f"has {image.height} x {image.width} pixels; challenge.toml says {shape}."
                raise InputError(what, where=where, help="Resize it.")
            if image.mode != mode:
                what = f'has pixels of mode "{image.mode}" where "{mode}" is needed.'
                raise InputError(what, where=where, help=f'Convert it with Pillow: image.convert("{mode}").')
            if image.getexif().get(_ORIENTATION, 1) != 1:
                help = "Apply it with Pillow's ImageOps.exif_transpose and save it again."
                raise InputError(
                    "carries a rotation in its EXIF data, which viewers apply and models do not see.", where=where, help=help
                )
            pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"is no readable PNG, JPEG or BMP image: {error}.", where=where) from error
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
