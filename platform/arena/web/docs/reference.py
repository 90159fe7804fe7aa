"""The library reference: what the evaluator and the sandbox offer, read from their source without importing it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import griffe
from django.utils.safestring import SafeString

import evaluator
from arena.web import markdown

PACKAGES = ("evaluator", "sandbox")
_WIDTH = 88  # of a signature in one line, in characters


@dataclass(frozen=True)
class Described:
    """A function, a method or a class. signature: as one would write it; methods: of a class, those with a docstring."""

    name: str
    signature: str
    html: SafeString
    methods: tuple[Described, ...] = ()


@dataclass(frozen=True)
class Module:
    """A module: its name, what its docstring says, and its public functions and classes in the order of the source."""

    name: str
    html: SafeString
    members: tuple[Described, ...]


@cache
def modules() -> dict[str, Module]:
    """Dotted name -> module, for every public module that has something public to describe."""
    root = Path(evaluator.__file__).parents[1]
    loaded = [griffe.load(name, search_paths=[str(root)], allow_inspection=False) for name in PACKAGES]
    found = [described for package in loaded for described in _walk(package)]
    return {module.name: module for module in found}


def _walk(module: griffe.Object | griffe.Alias) -> Iterator[Module]:
    own = [member for member in module.members.values() if isinstance(member, griffe.Object) and _public(member)]
    members = tuple(_described(member) for member in own if isinstance(member, griffe.Class | griffe.Function))
    if members:
        yield Module(module.path, _html(module), members)
    for member in sorted(own, key=lambda each: each.name):
        if isinstance(member, griffe.Module):
            yield from _walk(member)


def _public(member: griffe.Object) -> bool:
    return not member.name.startswith("_") and member.docstring is not None


def _described(member: griffe.Class | griffe.Function) -> Described:
    if isinstance(member, griffe.Function):
        return Described(member.name, _signature(member), _html(member))
    bases = ", ".join(str(base) for base in member.bases)
    own = [each for each in member.members.values() if isinstance(each, griffe.Function) and _public(each)]
    fields = [each for each in member.members.values() if isinstance(each, griffe.Attribute) and not each.name.startswith("_")]
    lines = [f"class {member.name}({bases})" if bases else f"class {member.name}"]
    lines += [f"    {each.name}: {each.annotation}{'' if each.value is None else f' = {each.value}'}" for each in fields]
    return Described(member.name, "\n".join(lines), _html(member), tuple(_described(each) for each in own))


def _signature(function: griffe.Function) -> str:
    shown = [parameter for parameter in function.parameters if parameter.name not in ("self", "cls")]
    written, starred = [], False
    for parameter in shown:
        if parameter.kind is griffe.ParameterKind.keyword_only and not starred:
            written.append("*")
            starred = True
        starred |= parameter.kind is griffe.ParameterKind.var_positional
        stars = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}.get(parameter.kind, "")
        annotation = "" if parameter.annotation is None else f": {parameter.annotation}"
        default = "" if stars or parameter.default is None else f" = {parameter.default}"
        written.append(f"{stars}{parameter.name}{annotation}{default}")
    result = "" if function.returns is None else f" -> {function.returns}"
    one_line = f"{function.name}({', '.join(written)}){result}"
    if len(one_line) <= _WIDTH:
        return one_line
    return "\n".join([f"{function.name}(", *(f"    {each}," for each in written), f"){result}"])


def _html(member: griffe.Object | griffe.Alias) -> SafeString:
    return markdown.render("" if member.docstring is None else member.docstring.value)
