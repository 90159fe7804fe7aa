"""What every architecture of ours is made of, as a table that is read without torch: the site compares weights with it.

The table is made from the networks themselves by `python -m evaluator.defenses.architecture_table`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from evaluator.errors import InputError

TABLE = Path(__file__).with_name("architectures.json")


class Header(Protocol):
    """What a safetensors file says of one tensor."""

    @property
    def dtype(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class Tensor:
    """One weight. dtype: as safetensors names it."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Shapes:
    """One architecture. shape: (C, H, W) of an input; classes: K; tensors: its state dict by name."""

    name: str
    shape: tuple[int, int, int]
    classes: int
    tensors: Mapping[str, Tensor]


@cache
def table() -> Mapping[str, Shapes]:
    """Every architecture by name."""
    return {
        name: Shapes(
            name,
            tuple(entry["shape"]),
            entry["classes"],
            {tensor: Tensor(dtype, tuple(shape)) for tensor, (dtype, shape) in entry["tensors"].items()},
        )
        for name, entry in json.loads(TABLE.read_bytes()).items()
    }


def find(name: str) -> Shapes:
    """The architecture of that name. Raises InputError naming the nearest ones."""
    if name not in table():
        raise unknown(name, table())
    return table()[name]


def unknown(name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is none of the known ones."""
    near = difflib.get_close_matches(name, known := sorted(known), n=3, cutoff=0.4)
    hint = f"Nearest: {', '.join(near)}." if near else f"Known: {', '.join(known)}."
    return InputError(f'there is no architecture named "{name}".', where="architecture", help=hint)


def check_images(architecture: str, shape: tuple[int, ...], classes: int | None = None) -> None:
    """Raises InputError unless the architecture takes images of that shape (C, H, W), and tells so many classes apart."""
    known = find(architecture)
    if known.shape != tuple(shape) or classes not in (None, known.classes):
        fitting = [entry.name for entry in table().values() if entry.shape == tuple(shape) and classes in (None, entry.classes)]
        what = f"{architecture} takes images of {_size(known.shape)}; this challenge's are {_size(shape)}."
        if known.shape == tuple(shape):
            what = f"{architecture} tells {known.classes} classes apart; this challenge has {classes}."
        help = f"Those that fit: {', '.join(sorted(fitting))}." if fitting else 'Submit it as format = "python".'
        raise InputError(what, where="architecture", help=help)


def check_weights(architecture: str, tensors: Mapping[str, Header], *, where: str) -> None:
    """Raises InputError unless a file holds exactly the architecture's tensors, by name, shape and type.

    tensors: what the file says of them. where: the file's name.
    """
    expected = find(architecture).tensors
    missing, unexpected = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or unexpected:
        parts = [f"lacks {_some(missing)}"] * bool(missing) + [f"has unexpected {_some(unexpected)}"] * bool(unexpected)
        help = f"{architecture} has {_some(expected, limit=20)}."
        if {name.removeprefix("module.") for name in tensors} == expected.keys():
            help = 'Remove the prefix "module." (save the state dict of the wrapped network).'
        raise InputError(f"does not fit {architecture}: it {' and '.join(parts)}.", where=where, help=help)
    for name, wanted in expected.items():
        found = tensors[name]
        if tuple(found.shape) != wanted.shape:
            what = f'tensor "{name}" has shape {list(found.shape)}; {architecture} needs {list(wanted.shape)}.'
            raise InputError(what, where=where, help="Submit the weights of this architecture, or name another one.")
        if found.dtype != wanted.dtype:
            what = f'tensor "{name}" is {found.dtype}; {architecture} needs {wanted.dtype}.'
            raise InputError(what, where=where, help="Call model.float() before saving.")


def _size(shape: Iterable[int]) -> str:
    return " x ".join(str(side) for side in shape)


def _some(tensors: Iterable[str], *, limit: int = 5) -> str:
    """The first few names, sorted, in quotes, and how many more there are."""
    ordered = sorted(tensors)
    rest = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(f'"{name[:80]}"' for name in ordered[:limit]) + rest
