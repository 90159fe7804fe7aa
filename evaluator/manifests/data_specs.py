"""A challenge's `[data]` table, validated, and what the data sets are. Torch-free: the web reads this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from evaluator.manifests.strict import FieldError, Strict, relative_file


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
    """What a manifest can be checked against. splits: the number of images of each; classes: their names, by number; compared:
    how many images of the test split the standard network was asked about under common corruptions."""

    shape: ImageShape
    splits: Mapping[str, int]
    classes: tuple[str, ...]
    compared: int


_DIGITS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DATA = {
    "mnist": DataFacts(ImageShape(1, 28, 28), {"train": 60_000, "test": 10_000}, _DIGITS, compared=10_000),
    "cifar10": DataFacts(ImageShape(3, 32, 32), {"train": 50_000, "test": 10_000}, _THINGS, compared=1_000),
}
LARGEST_SIDE = 512  # pixels
_OWN = ("path", "classes", "shape", "digest", "train", "train_digest")
Digest = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
ClassName = Annotated[str, Field(min_length=1, max_length=60)]
Column = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]


class DataSpec(Strict):
    """Which images rank: the first `examples` images of `split`, in data order.

    columns: classes beside the labels, by name, one for each ranked image in data order.

    For `dataset = "files"` the images are the organiser's own. path: an .npz or a folder of images, relative to the pack;
    classes: names in label order; shape: (channels, height, width); train: images that participants get; the digests
    (of the files' digests) are written by `redoubt challenge freeze`.
    """

    dataset: Literal["mnist", "cifar10", "files"]
    split: Literal["train", "test"] = "test"
    examples: int = Field(gt=0)
    columns: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)], Column] = Field(default={}, max_length=8)
    path: str | None = None
    classes: tuple[ClassName, ...] = ()
    shape: tuple[int, int, int] | None = None
    digest: Digest = ""
    train: str | None = None
    train_digest: Digest = ""

    @field_validator("path", "train")
    @classmethod
    def _inside(cls, value: str | None) -> str | None:
        return None if value is None else relative_file(value)

    @field_validator("classes")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value and not 2 <= len(value) <= 1000:
            raise ValueError(f"must be 2 to 1000 names, not {len(value)}")
        if twice := next((name for name in value if value.count(name) > 1), None):
            raise ValueError(f'names "{twice}" twice')
        return value

    @field_validator("shape")
    @classmethod
    def _image(cls, value: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        if value is not None and (value[0] not in (1, 3) or not all(1 <= side <= LARGEST_SIDE for side in value[1:])):
            raise ValueError(f"must be [channels, height, width] with 1 or 3 channels and sides of 1 to {LARGEST_SIDE} pixels")
        return value

    @model_validator(mode="after")
    def _whole(self) -> DataSpec:
        if self.dataset != "files":
            for name in _OWN:
                if getattr(self, name):
                    raise FieldError(f'is of dataset = "files", not of "{self.dataset}"', name)
            return self
        for name in ("path", "classes", "shape"):
            if not getattr(self, name):
                raise FieldError('is missing: dataset = "files" needs it', name)
        if self.split != "test":
            raise FieldError('must be "test": own images rank as they lie in `path`', "split")
        return self

    @model_validator(mode="after")
    def _one_each(self) -> DataSpec:
        for name, column in self.columns.items():
            if name in self.class_names:
                raise FieldError(f'"{name}" is the name of a class, and cannot be that of a column', "columns", name)
            if len(column) != self.examples:
                what = f"must hold one class for each of the {self.examples} ranked images, not {len(column)}"
                raise FieldError(what, "columns", name)
            if max(column) >= len(self.class_names):
                raise FieldError(
                    f"holds class {max(column)}; classes go from 0 to {len(self.class_names) - 1}", "columns", name
                )
        return self

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, by number."""
        return self.classes or DATA[self.dataset].classes

    def first(self, examples: int) -> DataSpec:
        """The same data of which only the first so many images rank, with their part of the columns."""
        count = min(examples, self.examples)
        shorter = {name: column[:count] for name, column in self.columns.items()}
        return self.model_copy(update={"examples": count, "columns": shorter})

    @field_validator("examples")
    @classmethod
    def _in_split(cls, value: int, known: ValidationInfo) -> int:
        facts = DATA.get(known.data.get("dataset", ""))
        size = value if facts is None else facts.splits.get(known.data.get("split", ""), value)
        if value > size:
            raise ValueError(f"must be at most {size}, the size of this split, not {value}")
        return value

    @property
    def size(self) -> int | None:
        """How many images the split has; None where its files alone say it."""
        return None if self.dataset == "files" else DATA[self.dataset].splits[self.split]

    @property
    def image_shape(self) -> ImageShape:
        """The shape of its images."""
        return DATA[self.dataset].shape if self.shape is None else ImageShape(*self.shape)
