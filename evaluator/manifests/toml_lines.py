"""On which line of a TOML text each of its tables, keys and list members begins: tomllib does not say. Torch-free."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

Path = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]+")  # a date and a time may be parted by a space
_STRINGS = (
    re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}', re.DOTALL),
    re.compile(r"'''(?:[^']|'(?!''))*'{3,5}"),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)
_BLANK = re.compile(r"[ \t\r]*")
_BLANK_LINES = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")


def lines(text: str) -> dict[Path, int]:
    """The line, counted from 1, of everything that can be named in a text that tomllib accepts.

    A path is made of keys and, within lists, of numbers counted from 0: ("phases", 1, "opens").
    """
    return _Reader(text).read()


class _Reader:
    """Walks through the text once. A valid text is never left in the middle of a value, so nothing is checked again."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._lines: dict[Path, int] = {}
        self._members: dict[Path, int] = {}  # lists of tables: the number of the last one

    def read(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip(_BLANK_LINES) < len(self._text):
            table = self._header() if self._text[self._at] == "[" else self._pair(table)
        return self._lines

    def _header(self) -> Path:
        """[table] or [[list of tables]] -> where the lines below it belong."""
        start, several = self._at, self._text.startswith("[[", self._at)
        self._at += 2 if several else 1
        path: Path = ()
        keys = self._keys()
        for key in keys[:-1]:
            self._note((*path, key), start)
            path = self._last((*path, key))
        path = (*path, keys[-1])
        self._note(path, start)
        if several:
            self._members[path] = self._members.get(path, -1) + 1
            path = self._last(path)
            self._note(path, start)
        self._at += 2 if several else 1
        return path

    def _pair(self, table: Path) -> Path:
        """key = value. Returns the table, in which the next line is, too."""
        start, path = self._at, table
        for key in self._keys():
            path = (*path, key)
            self._note(path, start)
        self._at += 1
        self._skip(_BLANK)
        self._value(path)
        return table

    def _value(self, path: Path) -> None:
        opening = self._text[self._at]
        if opening == "[":
            self._at += 1
            number = 0
            while self._text[self._skip(_BLANK_LINES)] != "]":
                self._note((*path, number), self._at)
                self._value((*path, number))
                number += 1
                self._comma()
            self._at += 1
        elif opening == "{":
            self._at += 1
            while self._text[self._skip(_BLANK_LINES)] != "}":
                self._pair(path)
                self._comma()
            self._at += 1
        elif not self._string():
            self._skip(_SCALAR)

    def _comma(self) -> None:
        if self._text[self._skip(_BLANK_LINES)] == ",":
            self._at += 1

    def _keys(self) -> list[str]:
        """A dotted key; stops at what follows it."""
        keys = []
        while True:
            self._skip(_BLANK)
            quoted = self._string()
            keys.append(tomllib.loads(f"key = {quoted}")["key"] if quoted else self._take(_BARE_KEY))
            if self._text[self._skip(_BLANK)] != ".":
                return keys
            self._at += 1

    def _string(self) -> str:
        """Takes a string with its quotes; "" where there is none."""
        return next(filter(None, (self._take(kind) for kind in _STRINGS)), "")

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found[0]

    def _skip(self, pattern: re.Pattern[str]) -> int:
        """Goes past what the pattern matches; where that ends."""
        self._take(pattern)
        return self._at

    def _last(self, path: Path) -> Path:
        """The path, within a list of tables that of its last member."""
        return (*path, self._members[path]) if path in self._members else path

    def _note(self, path: Path, at: int) -> None:
        self._lines.setdefault(path, bisect_right(self._starts, at))
