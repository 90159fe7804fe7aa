"""The child process behind `TorchvisionSource`: `python -m evaluator.data.torchvision_download DATASET FOLDER SECONDS`.

Downloads with torchvision (which checks its own digests before it unpickles anything), leaves the files in FOLDER under
the names of `evaluator.data.digests`, and prints one line and exits with 1 when it cannot.
"""

from __future__ import annotations

import contextlib
import io
import socket
import sys
import tempfile
from pathlib import Path

import numpy as np

from evaluator.torchvision_compat import let_torchvision_be_imported

let_torchvision_be_imported()
import torchvision  # noqa: E402


def main(dataset: str, folder: Path, seconds: float) -> int:
    """Downloads and returns the exit status. seconds: how long one connection may keep silent."""
    print(flush=True)  # a sign of life: importing torch may have taken a while
    socket.setdefaulttimeout(seconds)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".torchvision-") as work:
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # torchvision's own progress bar
                {"mnist": download_mnist, "cifar10": download_cifar10}[dataset](Path(work), folder)
        except (RuntimeError, OSError) as error:
            print(" ".join(str(error).split()), flush=True)
            return 1
    return 0


def download_mnist(work: Path, folder: Path) -> None:
    """The four idx files. Raises RuntimeError or OSError as torchvision does."""
    data = torchvision.datasets.MNIST(work, download=True)
    for path in Path(data.raw_folder).glob("*-ubyte"):
        path.rename(folder / path.name)


def download_cifar10(work: Path, folder: Path) -> None:
    """The six files of the binary version, rebuilt from the Python version: per image a label byte, then CHW bytes."""
    train = torchvision.datasets.CIFAR10(work, train=True, download=True)
    test = torchvision.datasets.CIFAR10(work, train=False)
    for name, data, start in [*((f"data_batch_{i + 1}", train, i * 10_000) for i in range(5)), ("test_batch", test, 0)]:
        images = np.asarray(data.data[start : start + 10_000], dtype=np.uint8)
        labels = np.asarray(data.targets[start : start + 10_000], dtype=np.uint8)
        rows = np.concatenate([labels[:, None], images.transpose(0, 3, 1, 2).reshape(len(images), -1)], axis=1)
        (folder / f"{name}.bin").write_bytes(rows.tobytes())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])))
