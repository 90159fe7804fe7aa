"""An organiser's images in an .npz: x (n, H, W, C) or (n, C, H, W), uint8 or float in [0, 1]; y (n,) integers. Torch-free."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from evaluator.data.recipe import Arrays
from evaluator.errors import InputError
from evaluator.manifests.data_specs import DataSpec

LARGEST_BYTES = 4 << 30  # of one array, unpacked
_ON_GRID = 1e-6  # a float this close to k / 255 is the byte k


def read_npz(file: Path, spec: DataSpec, *, where: str) -> Arrays:
    """Reads and checks both arrays. where: the file's name for messages. Raises InputError; unpickles nothing."""
    try:
        with zipfile.ZipFile(file) as archive:
            x, y = (_member(archive, name, where=where) for name in ("x", "y"))
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as error:
        raise InputError(
            f"is not a readable .npz: {error}.", where=where, help="Write it with numpy.savez(file, x=x, y=y)."
        ) from error
    if not len(x):
        raise InputError("holds no image.", where=where)
    return Arrays(_images(x, spec, where=f"{where}, x"), _labels(y, len(x), spec, where=f"{where}, y"))


def _member(archive: zipfile.ZipFile, name: str, *, where: str) -> NDArray[Any]:
    """One array, whose size is checked against the file's before anything is read."""
    if f"{name}.npy" not in archive.namelist():
        raise InputError(f'has no array "{name}".', where=where, help="Write it with numpy.savez(file, x=x, y=y).")
    with archive.open(f"{name}.npy") as stream:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(stream)
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if dtype.hasobject:
        raise InputError(
            f'"{name}" holds Python objects.', where=where, help="Only numbers are read: use uint8, float or integers."
        )
    if size > LARGEST_BYTES or size > archive.getinfo(f"{name}.npy").file_size:
        raise InputError(
            f'"{name}" says that it has {size:,} bytes; at most {LARGEST_BYTES:,}, all there, are read.', where=where
        )
    with archive.open(f"{name}.npy") as stream:
        return npy.read_array(stream, allow_pickle=False)


def _images(x: NDArray[Any], spec: DataSpec, *, where: str) -> NDArray[Any]:
    """(n, C, H, W), uint8 where the values are multiples of 1 / 255, else float32 in [0, 1]."""
    shape = spec.image_shape
    channels, height, width = shape.channels, shape.height, shape.width
    if x.shape[1:] == (height, width, channels):
        x = x.transpose(0, 3, 1, 2)
    elif channels == 1 and x.shape[1:] == (height, width):
        x = x[:, None]
    elif x.shape[1:] != (channels, height, width):
        what = f"has shape {x.shape}; challenge.toml says images of {shape} with {channels} channels."
        raise InputError(what, where=where, help="x is (n, height, width, channels) or (n, channels, height, width).")
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    if x.dtype.kind != "f":
        raise InputError(f"is {x.dtype}.", where=where, help="Use uint8 from 0 to 255, or floats from 0 to 1.")
    if not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(x))[0][0])
        raise InputError(f"image {row} holds a value that is not finite.", where=where)
    if x.min() < 0 or x.max() > 1:
        help = (
            "It looks like 0 to 255: use x.astype(numpy.uint8)."
            if 1 < x.max() <= 255 and x.min() >= 0
            else "Scale it to 0 to 1."
        )
        raise InputError(f"runs from {x.min():g} to {x.max():g}; floats must be in [0, 1].", where=where, help=help)
    bytes_ = np.rint(x * 255)
    return np.ascontiguousarray(
        bytes_.astype(np.uint8) if (abs(x * 255 - bytes_) < 255 * _ON_GRID).all() else x.astype(np.float32)
    )


def _labels(y: NDArray[Any], count: int, spec: DataSpec, *, where: str) -> NDArray[np.int64]:
    if y.shape != (count,) or y.dtype.kind not in "iu":
        raise InputError(f"is {y.dtype} of shape {y.shape}; it must be {count} integers.", where=where)
    wrong = np.flatnonzero((y < 0) | (y >= len(spec.classes)))
    if len(wrong):
        what = f"label {y[wrong[0]]} of image {wrong[0]} is none of the {len(spec.classes)} classes."
        raise InputError(what, where=where, help=f"Labels run from 0 to {len(spec.classes) - 1}.")
    return y.astype(np.int64)
