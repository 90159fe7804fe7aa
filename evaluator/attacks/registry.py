"""The one list of attacks: name, what it needs, where it comes from."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from evaluator.attacks.base import Attack
from evaluator.errors import InputError
from evaluator.manifests.spec import Access


@dataclass(frozen=True)
class Entry:
    """One registered attack.

    threats: kinds it can do, ("*",) for every threat with the point algebra. targeted: it can aim at a given class.
    """

    name: str
    title: str
    factory: type[Attack]
    access: Access
    threats: tuple[str, ...]
    paper: str
    targeted: bool = True

    @property
    def summary(self) -> str:
        """The first line of the attack's docstring."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]

    @property
    def minimal_norm(self) -> bool:
        """Whether it returns the closest adversarial point whatever epsilon is."""
        return self.factory.minimal_norm

    @property
    def options(self) -> dict[str, Any]:
        """Hyperparameters and their defaults, in the order of the dataclass."""
        fields = dataclasses.fields(self.factory)  # type: ignore[arg-type]
        return {field.name: field.default for field in fields}


_ENTRIES: dict[str, Entry] = {}
A = TypeVar("A", bound=type[Attack])


def register(
    name: str, *, title: str, access: Access, threats: tuple[str, ...], paper: str, targeted: bool = True
) -> Callable[[A], A]:
    """Class decorator that puts an attack on the list."""

    def add(cls: A) -> A:
        if name in _ENTRIES:
            raise ValueError(f"two attacks are named {name!r}")
        cls.supported_threats, cls.can_target = threats, targeted
        _ENTRIES[name] = Entry(name, title, cls, access, threats, paper, targeted)
        return cls

    return add


def entries() -> list[Entry]:
    """All registered attacks, by name."""
    return [_ENTRIES[name] for name in sorted(_ENTRIES)]


def find(name: str) -> Entry:
    """The entry of that name. Raises InputError naming the nearest ones."""
    if name not in _ENTRIES:
        near = difflib.get_close_matches(name, _ENTRIES, n=3, cutoff=0.4)
        hint = f"Nearest: {', '.join(near)}." if near else "See `redoubt attacks`."
        raise InputError(f'there is no attack named "{name}".', help=hint)
    return _ENTRIES[name]


def create(name: str, **options: Any) -> Attack:
    """Builds an attack by name. Raises InputError for an unknown name or option, or an impossible value."""
    entry = find(name)
    known = list(entry.options)
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f'Did you mean "{near[0]}"?' if near else f"It has: {', '.join(sorted(known)) or 'none'}."
            raise InputError(f'{name} has no option "{option}".', help=hint)
    return entry.factory(**options)
