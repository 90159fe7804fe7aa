"""What is known of a data set: its files, its splits, its sources, and how the files are read. Torch-free."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evaluator.data.digests import PinnedFile
from evaluator.data.sources import Source


@dataclass(frozen=True)
class Arrays:
    """images: (n, C, H, W) uint8, or float32 in [0, 1]; labels: (n,) int64; both in the order of the files."""

    images: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    def unit(self, row: int) -> npt.NDArray[np.float64]:
        """(C, H, W) of one image in [0, 1]."""
        image: npt.NDArray[np.float64] = self.images[row].astype(np.float64)
        return image / 255 if self.images.dtype == np.uint8 else image

    @property
    def digest(self) -> str:
        """SHA-256 of what they hold: shape, image bytes, label bytes (int64, little-endian)."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels.astype("<i8")).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Split:
    """files: names of the files it is read from; digest: the `Arrays.digest` that must come out."""

    files: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class Recipe:
    """One data set.

    title: for people. setting: the environment variable that names a folder with the files. read: paths of one split's
    files -> Arrays. sources: in the order in which they are tried.
    """

    name: str
    title: str
    setting: str
    classes: int
    files: tuple[PinnedFile, ...]
    splits: Mapping[str, Split]
    sources: tuple[Source, ...]
    read: Callable[[list[Path]], Arrays]
