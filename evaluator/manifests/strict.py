"""The base of every manifest table, its numbers, and the error that names a field. Torch-free."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_FRACTION = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)\s*")


class Strict(BaseModel):
    """Base of every manifest table: frozen; an unknown key is an error, as is a number that is not finite.

    So is text with a control character other than a tab or the end of a line. Nobody sees it, and no database need store it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _visible(cls, value: Any) -> Any:
        for name, text in value.items() if isinstance(value, dict) else ():
            if isinstance(text, str) and (found := _CONTROL.search(text)):
                raise FieldError(f"must not hold the control character \\u{ord(found[0]):04x}", str(name))
        return value


class FieldError(ValueError):
    """What a validator of a whole table found wrong with one field of it.

    at: the field's path below that table, list members counted from 0, such as "members", 1, "epsilon".
    """

    def __init__(self, what: str, *at: str | int) -> None:
        super().__init__(what)
        self.at = at


def relative_file(value: str) -> str:
    """Accepts a file name inside the submission's folder; refuses absolute paths and `..`."""
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in value or "\0" in value:
        raise ValueError("must be a relative file name inside the submission")
    return value


def _divided(value: Any) -> Any:
    """ "8/255" as the number that it stands for; anything else as it is."""
    found = _FRACTION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    above, below = float(found[1]), float(found[2])
    if below == 0:
        raise ValueError(f'must be a number; "{value}" divides by 0')
    return above / below


Real = Annotated[float, BeforeValidator(_divided)]
"""A number that need not be whole: 0.3, or a fraction in quotes as the field writes it: "8/255"."""
