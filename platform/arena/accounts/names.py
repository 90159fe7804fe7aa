"""Which names people and teams may have, and which of them a reader would take for each other."""

from __future__ import annotations

import json
import re
import unicodedata
from functools import cache
from pathlib import Path

import confusable_homoglyphs  # type: ignore[import-untyped]  # ships no types

from evaluator.errors import InputError

LONGEST = 60
RESERVED = ("Redoubt", "Redoubt baselines")  # speaking for the site itself
_MARKS = 4  # of one letter; no language stacks more
# What shows nothing without being a control character: fillers, variation selectors, a joiner, an empty Braille cell.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
# What looks alike among Latin letters and digits once all are lower case.
_ALIKE = str.maketrans({"i": "l", "1": "l", "|": "l", "0": "o"})


def tidy_name(name: str, *, what: str = "A team's name", where: str = "name") -> str:
    """The name with single spaces. Raises InputError when it is empty, too long, or has characters that cannot be seen."""
    name = " ".join(name.split())
    if not 1 <= len(name) <= LONGEST or len(unicodedata.normalize("NFKC", name)) > LONGEST:
        raise InputError(f"{what} has 1 to {LONGEST} characters.", where=where)
    check_visible(name, what=what, where=where)
    return name


def check_visible(name: str, *, what: str, where: str) -> None:
    """Raises InputError for control, direction and other invisible characters, stacks of marks, and punctuation alone."""
    for character in name:
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") or _BLANK.match(character):
            help = "Type it by hand: copied text can carry such characters."
            raise InputError(f"{what} has a character that cannot be seen, U+{ord(character):04X}.", where=where, help=help)
    marks = "".join("m" if unicodedata.category(each).startswith("M") else " " for each in unicodedata.normalize("NFC", name))
    if "m" * (_MARKS + 1) in marks:
        raise InputError(f"{what} has more than {_MARKS} marks on one letter.", where=where)
    if not any(unicodedata.category(character)[0] in "LNS" for character in name):
        raise InputError(f"{what} needs at least one letter or digit.", where=where)


def keys_of(name: str) -> frozenset[str]:
    """What two names share when a reader would take one for the other.

    The name in lower case (NFKC, case-folded), and with every letter of another script that looks like a Latin one turned into
    it (Unicode TR 39). That is done before and after folding, since capitals look alike that small letters do not. In each
    then I, l and 1 are one, O and 0, rn and m, and any punctuation.
    """
    plain = unicodedata.normalize("NFKC", name)
    folded = unicodedata.normalize("NFKC", plain.casefold())
    return frozenset(_key(text) for text in (folded, _latin(plain), _latin(folded)))


def _key(text: str) -> str:
    text = unicodedata.normalize("NFKC", text.casefold()).translate(_ALIKE).replace("rn", "m")
    words = "".join(" " if unicodedata.category(character)[0] in "PZ" else character for character in text)
    return (" ".join(words.split()) or text)[:255]


def _latin(text: str) -> str:
    table = _confusables()
    return "".join(table.get(character, character) for character in text)


@cache
def _confusables() -> dict[str, str]:
    """Character -> the Latin one that it looks like, or else the one that stands for all that look like it; ASCII is itself.

    The package lists what looks alike both ways: one that has many is what the others are shown as.
    """
    path = Path(confusable_homoglyphs.__file__).parent / "confusables.json"
    listed = {seen: [other["c"] for other in others] for seen, others in json.loads(path.read_text()).items()}
    table = {}
    for seen, others in listed.items():
        if seen.isascii() or len(seen) > 1:
            continue
        latin = [other for other in others if other.isascii()]
        if latin:
            table[seen] = latin[0]
        elif len(others) == 1:
            table[seen] = others[0] if len(listed.get(others[0], [])) > 1 else min(seen, others[0])
    return table
