"""Which modules are torch's own layers, as they were when this process began.

A class's name, module and `__class__` are attributes that submitted code can set, and so are the functions of torch itself. So
the classes and what they run are recorded by identity when this module is imported, before any submission is.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_RUN = ("__call__", "_call_impl", "_wrapped_call_impl", "_slow_forward", "forward", "__getattr__", "__getattribute__")


def _subclasses(base: type) -> Iterator[type]:
    yield base
    derived: list[type] = type.__subclasses__(base)
    for cls in derived:
        yield from _subclasses(cls)


LAYERS = frozenset(found for found in _subclasses(nn.Module) if found.__module__.startswith("torch.nn.modules."))


def custom(parts: Iterable[nn.Module]) -> list[nn.Module]:
    """Those that are none of torch's own layers as they were: another class, or something on the way from call to answer was
    replaced or hooked. All of them where a function was replaced that layers are made of."""
    torn = replaced()
    return [part for part in parts if torn or not _as_made(part)]


def _as_made(part: nn.Module) -> bool:
    own: Mapping[str, Any] = object.__getattribute__(part, "__dict__")
    if type(part) not in LAYERS or "forward" in own or any(own.get(hooks) for hooks in _HOOKS):
        return False
    return all(_as_it_was(cls, _LAYERS_RUN[cls]) for cls in type.mro(type(part)) if cls in _LAYERS_RUN)


def replaced() -> bool:
    """Whether a function of torch that layers are made of is not the one that it was."""
    return not all(_as_it_was(owner, was) for owner, was in _FUNCTIONS)


def submodules(model: nn.Module) -> list[nn.Module]:
    """The model and all registered below it, by what is registered and not by what the model's own methods say."""
    found: dict[int, nn.Module] = {}
    waiting: list[Any] = [model]
    while waiting:
        part = waiting.pop()
        if isinstance(part, nn.Module) and id(part) not in found:
            found[id(part)] = part
            waiting += list(object.__getattribute__(part, "__dict__").get("_modules", {}).values())[::-1]
    return list(found.values())


def _identity(value: object) -> tuple[object, CodeType | None]:
    return value, value.__code__ if isinstance(value, FunctionType) else None


_Was = Mapping[str, tuple[object, CodeType | None]]


def _recorded(owner: Any, names: Iterable[str]) -> _Was:
    own = vars(owner)
    return {name: _identity(own[name]) for name in names if name in own}


def _as_it_was(owner: Any, was: _Was) -> bool:
    now = vars(owner)
    for name, (value, code) in was.items():
        if now.get(name) is not value or (isinstance(value, FunctionType) and value.__code__ is not code):
            return False
    return True


def _functions(owner: Any) -> _Was:
    names = (name for name, value in vars(owner).items() if callable(value) and not inspect.isclass(value))
    return _recorded(owner, names)


_LAYERS_RUN: dict[type, _Was] = {cls: _recorded(cls, _RUN) for cls in (*LAYERS, nn.Module)}
_OPERATIONS = type(torch._C._VariableFunctions)
_OWNERS: tuple[Any, ...] = (functional, torch._C._nn, _OPERATIONS, Tensor)
_FUNCTIONS = [(owner, _functions(owner)) for owner in _OWNERS]
# Of torch's own names, those of operations: it replaces others itself, as it goes.
_FUNCTIONS.append((torch, _recorded(torch, (name for name in vars(_OPERATIONS) if name[0] != "_"))))
