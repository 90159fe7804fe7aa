"""A manifest's validation errors as sentences: which field, what is wrong with it, and what to do. Torch-free."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from evaluator.errors import InputError
from evaluator.manifests.kinds import Kinded
from evaluator.manifests.strict import FieldError

_KINDS = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "datetime_type": "a date with a time",
    "finite_number": "a finite number",
}
_SHOWN = 60
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_LENGTHS = {
    "string_too_short": ("at least", "min_length", "characters"),
    "string_too_long": ("at most", "max_length", "characters"),
    "too_short": ("at least", "min_length", "entries"),
    "too_long": ("at most", "max_length", "entries"),
}


@dataclass(frozen=True)
class _Place:
    """Where an error is.

    path: for people, list members counted from 1; keys: the same as keys of the parsed text, list members counted from 0;
    table: the model that holds the field `leaf`; choices: what it may be.
    """

    path: str
    keys: tuple[str | int, ...]
    table: type[BaseModel] | None
    leaf: str
    choices: list[str]


def explain(
    error: ValidationError, model: type[BaseModel], *, where: str, lines: Mapping[tuple[str | int, ...], int] | None = None
) -> InputError:
    """The validation errors of one manifest as one error: `line, field: what is wrong` for each, and help for each.

    lines: of the text, as `evaluator.manifests.toml_lines.lines` tells them; without them no line is named.
    """
    located = [(item, _locate(_location(item), model)) for item in error.errors() if not _follows(item)]
    located.sort(key=lambda pair: pair[0]["type"] == "missing")
    meant: set[tuple[str, str]] = set()
    problems, helps = [], []
    for item, place in located:
        parent = place.path.rpartition(".")[0]
        if item["type"] == "missing" and (parent, place.leaf) in meant:
            continue
        problem, help = _sentence(item, place)
        if item["type"] == "extra_forbidden":
            meant.update((parent, name) for name in _near(place.leaf, _fields(place.table)))
        named = ", ".join(part for part in (_line(place, lines or {}), place.path) if part)
        problem = f"{named}: {problem}" if named else problem
        if problem not in problems:
            problems.append(problem)
        if help and help not in helps:
            helps.append(help)
    return InputError("; ".join(problems) + ".", where=where, help=" ".join(helps))


def _follows(item: ErrorDetails) -> bool:
    """Whether a list is called too short only because its wrong members, which are reported, do not count."""
    return item["type"] == "too_short" and len(item["input"]) >= item["ctx"]["min_length"]


def _location(item: ErrorDetails) -> tuple[int | str, ...]:
    """Where pydantic or, below that, a validator of a whole table found the error."""
    cause = item.get("ctx", {}).get("error")
    location = (*item["loc"], *cause.at) if isinstance(cause, FieldError) else item["loc"]
    of_the_list = item["type"] == "missing" and location and isinstance(location[-1], int)
    return location[:-1] if of_the_list else location  # a list is too short: no member is there to be named


def _line(place: _Place, lines: Mapping[tuple[str | int, ...], int]) -> str:
    """The line of the field or, where the text has none, of the table that it is missing in."""
    for length in range(len(place.keys), 0, -1):
        if place.keys[:length] in lines:
            return f"line {lines[place.keys[:length]]}"
    return ""


def _sentence(item: ErrorDetails, place: _Place) -> tuple[str, str]:
    """(what is wrong, what to do) of one error."""
    kind, value, context = item["type"], item["input"], item.get("ctx", {})
    if kind == "extra_forbidden":
        known = _fields(place.table)
        near = _near(place.leaf, known)
        return "unknown field", f'Did you mean "{near[0]}"?' if near else f"Known fields here: {', '.join(sorted(known))}."
    if kind == "missing":
        if not isinstance(value, dict):
            return f"must have more than {len(value)} {'entry' if len(value) == 1 else 'entries'}", ""
        return "is required", f'Add "{place.leaf}".'
    if kind == "union_tag_not_found":
        return "has no kind", f"Add kind = one of {_quoted(place.choices)}."
    if kind in {"literal_error", "union_tag_invalid"}:
        wrong = value.get("kind") if kind == "union_tag_invalid" and isinstance(value, dict) else value
        near = _near(str(wrong), place.choices)
        problem = f"must be {_quoted(place.choices)}, not {_shown(wrong)}"
        return problem, f'Did you mean "{near[0]}"?' if near else ""
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}, not {_shown(value)}", _spelling(kind, value)
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"must be {words} {context[key]:g}, not {_shown(value)}", ""
    if kind in _LENGTHS:
        words, key, unit = _LENGTHS[kind]
        return f"must have {words} {context[key]} {unit}", ""
    return item["msg"].removeprefix("Value error, ").rstrip("."), ""


def _spelling(kind: str, value: Any) -> str:
    """How to write a value of the kind that is wanted, where what was written tells what was meant."""
    if isinstance(value, str) and kind in {"int_type", "float_type"}:
        if value.replace(".", "", 1).isdigit():
            return "Write it without quotes."
        return 'A fraction is written "8/255".' if kind == "float_type" and "/" in value else ""
    if kind == "datetime_type":
        if isinstance(value, date):
            return f"Write {value.isoformat()}T00:00:00Z, where Z is UTC."
        return f"Write it {'without quotes, ' if isinstance(value, str) else ''}as in 2026-12-01T00:00:00Z."
    return ""


def _locate(location: tuple[int | str, ...], model: type[BaseModel]) -> _Place:
    """Walks the model along pydantic's location; the tag of a union is a step there that no person writes."""
    path, leaf, table = "", "", None
    keys: list[str | int] = []
    annotation: Any = model
    for step in location:
        annotation = _without_none(annotation)
        if str(step) in _tagged(annotation):
            annotation = _tagged(annotation)[str(step)]
            continue
        keys.append(step)
        if isinstance(step, int):
            path, annotation = f"{path}[{step + 1}]", next(iter(get_args(annotation)), None)
        else:
            path, leaf = f"{path}.{step}" if path else step, step
            table = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
            known = None if table is None else table.model_fields.get(step)
            annotation = _value(annotation) if known is None else known.annotation
    return _Place(path, tuple(keys), table, leaf, _choices(_without_none(annotation)))


def _without_none(annotation: Any) -> Any:
    """`X | None` -> X and Annotated[X, ...] -> X; anything else as it is."""
    if get_origin(annotation) is Annotated:
        return _without_none(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        rest = [part for part in get_args(annotation) if part is not NoneType]
        return _without_none(rest[0]) if len(rest) == 1 else annotation
    return annotation


def _value(annotation: Any) -> Any:
    """The type of the values of a dict; None for anything else."""
    return get_args(annotation)[1] if get_origin(annotation) is dict else None


def _tagged(annotation: Any) -> dict[str, type[BaseModel]]:
    """The tables that a field may hold, by kind, where its type stands for several; empty for anything else."""
    return annotation.choices() if isinstance(annotation, type) and issubclass(annotation, Kinded) else {}


def _choices(annotation: Any) -> list[str]:
    """The values that a Literal, or the kind of a tagged union, may have."""
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return list(_tagged(annotation))


def _fields(table: type[BaseModel] | None) -> set[str]:
    return set() if table is None else set(table.model_fields)


def _near(name: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(name, list(known), n=1)


def _quoted(choices: list[str]) -> str:
    """ "a", "b" or "c"."""
    *most, last = (f'"{choice}"' for choice in choices)
    return f"{', '.join(most)} or {last}" if most else last


def _shown(value: Any) -> str:
    """The value as TOML would have it, unless it is long."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    text = str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else f"{value}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
