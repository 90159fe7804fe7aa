"""Data sets as tensors: what attacks and training read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.data import own
from evaluator.data.fetching import fetch, find_recipe
from evaluator.errors import InputError, PlatformError
from evaluator.manifests.data_specs import DataSpec
from evaluator.wanted import Wanted


@dataclass(frozen=True)
class Dataset:
    """One split of a data set, in the order of its files.

    images: (n, C, H, W) uint8, or float32 in [0, 1]. labels: (n,) int64 in [0, classes).
    digest: SHA-256 of both (`Arrays.digest`).
    """

    images: Tensor
    labels: Tensor
    digest: str
    classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width


@dataclass(frozen=True)
class Examples:
    """Examples to judge on, such as the ranked ones of a challenge.

    ids: (n,) int64 positions in the split; x: (n, C, H, W) float32 in [0, 1]; y: (n,) int64; classes: K; digest: of the
    split they come from ("" when from elsewhere). target: (n,) int64 the class that an adversary wants, None for any wrong one.
    """

    ids: Tensor
    x: Tensor
    y: Tensor
    classes: int
    digest: str = ""
    target: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, part: Tensor | slice) -> Examples:
        target = None if self.target is None else self.target[part]
        return Examples(self.ids[part], self.x[part], self.y[part], self.classes, self.digest, target)

    @property
    def wanted(self) -> Wanted:
        """What an adversary wants of the answers to them."""
        return Wanted(self.y, self.target)


def load(dataset: str, split: str) -> Dataset:
    """Loads one split, fetching the data set first when this machine has not got it.

    Raises InputError for an unknown data set or split, PlatformError("data", ...) when it cannot be had.
    """
    recipe = find_recipe(dataset)
    if split not in recipe.splits:
        raise InputError(f'{recipe.title} has no split "{split}".', help=f"It has: {', '.join(recipe.splits)}.")
    folder, wanted = fetch(dataset), recipe.splits[split]
    arrays = recipe.read([folder / name for name in wanted.files])
    digest = arrays.digest
    if digest != wanted.digest:
        raise PlatformError("data", f"the {split} split was read as {digest} instead of {wanted.digest}.", where=recipe.title)
    return Dataset(torch.from_numpy(arrays.images.copy()), torch.from_numpy(arrays.labels), digest, recipe.classes)


def ranked_split(spec: DataSpec) -> Dataset:
    """The split from which a challenge's images come. Raises whatever `load` raises."""
    if spec.dataset != "files":
        return load(spec.dataset, spec.split)
    return _own(spec, spec.digest)


def _own(spec: DataSpec, digest: str) -> Dataset:
    arrays = own.load(digest)
    return Dataset(torch.from_numpy(arrays.images), torch.from_numpy(arrays.labels), arrays.digest, len(spec.class_names))


def unit(images: Tensor) -> Tensor:
    """Images as float32 in [0, 1]: `byte / 255`, or as they are."""
    return images.to(torch.float32) / 255 if images.dtype == torch.uint8 else images


def examples(spec: DataSpec) -> Examples:
    """The images that rank in a challenge: the first `spec.examples` of the split, as `unit` gives them.

    Raises whatever `load` raises.
    """
    data = ranked_split(spec)
    x = unit(data.images[: spec.examples])
    return Examples(torch.arange(spec.examples), x, data.labels[: spec.examples].clone(), data.classes, data.digest)


def training(spec: DataSpec) -> Examples:
    """The images that participants may train on. Raises InputError where the organisers give none."""
    if spec.dataset != "files":
        data = load(spec.dataset, "train")
    elif spec.train is None:
        raise InputError("this challenge gives no images for training.", where="data.train")
    else:
        data = _own(spec, spec.train_digest)
    return Examples(torch.arange(len(data.labels)), unit(data.images), data.labels, data.classes, data.digest)


def following(spec: DataSpec, count: int) -> Examples:
    """The `count` images of the split after those that rank. Raises InputError where there are fewer."""
    data, ids = ranked_split(spec), torch.arange(spec.examples, spec.examples + count)
    if len(data.images) < spec.examples + count:
        what = f"{len(data.images)} images hold no {count} that do not rank, since {spec.examples} do."
        raise InputError(what, where="goal.images", help="Take fewer.")
    return Examples(ids, unit(data.images[ids]), data.labels[ids].clone(), data.classes, data.digest)


def unranked(spec: DataSpec, count: int, seed: int) -> Examples | None:
    """At most `count` images of the split that do not rank, drawn by `seed`; None where all of them rank."""
    data = ranked_split(spec)
    rest = torch.arange(spec.examples, len(data.images))
    if not len(rest):
        return None
    order = torch.randperm(len(rest), generator=torch.Generator().manual_seed(seed % 2**63))
    ids = rest[order[:count]].sort().values
    return Examples(ids, unit(data.images[ids]), data.labels[ids].clone(), data.classes, data.digest)
