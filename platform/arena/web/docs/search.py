"""Search in the documentation: parts of pages that hold every word, those with the words in a heading first."""

from __future__ import annotations

import re
from dataclasses import dataclass

from arena.web.docs.pages import Part, parts

_MOST = 30  # hits
_AROUND = 90  # characters before and after a word


@dataclass(frozen=True)
class Hit:
    """A part that holds every word, and some text around the first of them."""

    part: Part
    excerpt: str


def search(query: str) -> list[Hit]:
    """What holds every word of `query` (case does not matter), at most 30 hits; none for an empty query."""
    words = query.casefold().split()
    if not words:
        return []
    ranked = []
    for place, part in enumerate(parts()):
        title, text = f"{part.page.title} {part.title}".casefold(), part.text.casefold()
        if all(word in title or word in text for word in words):
            ranked.append((-sum(word in title for word in words), place, part))
    return [Hit(part, _excerpt(part.text, words)) for _, _, part in sorted(ranked)[:_MOST]]


def _excerpt(text: str, words: list[str]) -> str:
    plain = re.sub(r"\s+", " ", re.sub(r"[`*|#]|\]\([^)]*\)|\[", "", text)).strip()
    places = [place for word in words if (place := plain.casefold().find(word)) >= 0]
    first = max(0, min(places, default=0) - _AROUND)
    last = first + 2 * _AROUND
    return ("… " if first else "") + plain[first:last].strip() + (" …" if last < len(plain) else "")
