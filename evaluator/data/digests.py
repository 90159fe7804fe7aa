"""What the data sets' files must be, byte for byte, from any source. Torch-free."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 1 << 20


@dataclass(frozen=True)
class PinnedFile:
    """One file: its name in the cache, its size in bytes, and its MD5 as the field has published it."""

    name: str
    size: int
    md5: str

    def fault(self, path: Path) -> str | None:
        """What is wrong with the file at `path`: one clause for a message, or None when it is the right file."""
        if not path.is_file():
            return f"{self.name} is missing"
        size = path.stat().st_size
        if size != self.size:
            return f"{self.name} has {size} bytes instead of {self.size}"
        found = md5(path)
        return None if found == self.md5 else f"{self.name} has MD5 {found} instead of {self.md5}"


def md5(path: Path) -> str:
    """The MD5 of a file: an identity that the data sets' authors published, not a defense against forgery."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


MNIST = (
    PinnedFile("train-images-idx3-ubyte", 47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
    PinnedFile("train-labels-idx1-ubyte", 60_008, "a25bea736e30d166cdddb491f175f624"),
    PinnedFile("t10k-images-idx3-ubyte", 7_840_016, "2646ac647ad5339dbf082846283269ea"),
    PinnedFile("t10k-labels-idx1-ubyte", 10_008, "27ae3e4e09519cfbb04c329615203637"),
)

CIFAR10 = (
    PinnedFile("data_batch_1.bin", 30_730_000, "5dd7e06a14cb22eb9f671a540d1b7c25"),
    PinnedFile("data_batch_2.bin", 30_730_000, "5ea93a67294ea407fff1d09f752e9692"),
    PinnedFile("data_batch_3.bin", 30_730_000, "942cd6a4bcdd0dd3c604fbe906cb4421"),
    PinnedFile("data_batch_4.bin", 30_730_000, "ae636b3ba5c66a11e91e8cb52e771fcb"),
    PinnedFile("data_batch_5.bin", 30_730_000, "53f37980c15c3d472c316c40844f3f0d"),
    PinnedFile("test_batch.bin", 30_730_000, "803d5f7f4d78ea53de84dbe85f74fb6d"),
)
