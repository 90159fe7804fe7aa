"""A challenge's `[data]` table, validated, and what the data sets are. Torch-free: the web reads this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from evaluator.manifests.strict import Strict


@dataclass(frozen=True)
class ImageShape:
    """The shape of one image of a data set."""

    channels: int
    height: int
    width: int

    @property
    def side(self) -> int:
        """The shorter of its sides, in pixels."""
        return min(self.height, self.width)

    @property
    def pixels(self) -> int:
        """How many positions it has; each holds all channels."""
        return self.height * self.width

    @property
    def values(self) -> int:
        """How many numbers in [0, 1] it is made of."""
        return self.channels * self.pixels

    def __str__(self) -> str:
        return f"{self.height} x {self.width}"


@dataclass(frozen=True)
class DataFacts:
    """What a manifest can be checked against. splits: the number of images of each."""

    shape: ImageShape
    splits: Mapping[str, int]


DATA = {
    "mnist": DataFacts(ImageShape(1, 28, 28), {"train": 60_000, "test": 10_000}),
    "cifar10": DataFacts(ImageShape(3, 32, 32), {"train": 50_000, "test": 10_000}),
}


class DataSpec(Strict):
    """Which images rank: the first `examples` images of `split`, in data order."""

    dataset: Literal["mnist", "cifar10"]
    split: Literal["train", "test"] = "test"
    examples: int = Field(gt=0)

    @field_validator("examples")
    @classmethod
    def _in_split(cls, value: int, known: ValidationInfo) -> int:
        facts = DATA.get(known.data.get("dataset", ""))
        size = value if facts is None else facts.splits.get(known.data.get("split", ""), value)
        if value > size:
            raise ValueError(f"must be at most {size}, the size of this split, not {value}")
        return value

    @property
    def shape(self) -> ImageShape:
        """The shape of its images."""
        return DATA[self.dataset].shape
