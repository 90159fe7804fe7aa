"""The texts that people read keep to plain English: no sentence above 25 words, and none of the words that were a dialect."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 25  # words of a sentence
TEMPLATES = ROOT / "platform" / "arena" / "web" / "templates"
DOCUMENTS = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md")]
DOCUMENTS += [ROOT / name for name in ("CHANGELOG.md", "deploy/README.md", "tests/README.md", "tests/mutation/README.md")]
DOCUMENTS += sorted((ROOT / "docs").rglob("*.md")) + sorted((ROOT / "challenges").glob("*/README.md"))
PAGES = sorted(TEMPLATES.rglob("*.html"))
SOURCES = [file for folder in ("evaluator", "sandbox", "platform/arena") for file in sorted((ROOT / folder).rglob("*.py"))]
BANNED = re.compile(
    r"\b(is|are|was|were|be|being) told\b|without a word|\bwant of\b|\bdear(er|est)?\b|stands in the way"
    r"|\bwhoever\b|\bis no [a-z]+ but\b"
    r"|\bhence\b|\blest\b|\bthereof\b|\bwhence\b|\band their like\b|\bhad back\b",
    re.IGNORECASE,
)


def _without_code(text: str) -> str:
    """Markdown as sentences: fenced code, tables and headings removed; inline code and links as one word each."""
    text = re.sub(r"^```.*?^```$", "\n", text, flags=re.DOTALL | re.MULTILINE)
    lines = ["\n" if re.match(r"\s*\||#|!\[", line) else line for line in text.splitlines()]
    text = "\n".join(re.sub(r"^\s*([-*]|\d+\.)\s", "\n", line) for line in lines)
    text = re.sub(r"`[^`]*`", "code", text)
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"(code)(,? code)+", r"\1", text)


def _visible(page: str) -> str:
    """A template as sentences: a block element ends one, tags and variables are words or nothing."""
    page = re.sub(r"\{#.*?#\}|\{% comment %\}.*?\{% endcomment %\}|<pre.*?</pre>|<svg.*?</svg>", " ", page, flags=re.DOTALL)
    page = re.sub(r"<code>.*?</code>|\{\{.*?\}\}", "code", page, flags=re.DOTALL)
    page = re.sub(r"\{% (el|else|if|endif|for|endfor|empty|block|endblock|elif|partialdef|endpartialdef).*?%\}", "\n\n", page)
    page = re.sub(
        r"</?(p|li|h\d|td|th|dt|dd|div|section|button|label|title|option|summary|span|caption|figcaption)\b[^>]*>", "\n\n", page
    )
    return unescape(re.sub(r"\{%.*?%\}|<[^>]*>", "", page, flags=re.DOTALL))


def sentences(text: str) -> list[str]:
    """The sentences of a text whose paragraphs are separated by empty lines; a colon or semicolon ends none."""
    paragraphs = (" ".join(each.split()) for each in re.split(r"\n\s*\n", text))
    return [said for each in paragraphs for said in re.split(r"(?<=[.!?])[)*\"”]*\s+(?=[A-Z0-9`\[*(\"“]|code)", each) if said]


def too_long(text: str) -> list[str]:
    """The sentences with more than `LONGEST` words; signs and figures alone are no words."""
    return [said for said in sentences(text) if len([word for word in said.split() if re.search(r"[A-Za-z]", word)]) > LONGEST]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_sentences_of_the_documents_are_short(document: Path) -> None:
    assert too_long(_without_code(document.read_text())) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda file: file.relative_to(TEMPLATES).as_posix())
def test_sentences_of_the_pages_are_short(page: Path) -> None:
    assert too_long(_visible(page.read_text())) == []


@pytest.mark.parametrize("file", [*DOCUMENTS, *PAGES, *SOURCES], ids=lambda file: file.relative_to(ROOT).as_posix())
def test_no_text_uses_a_banned_word(file: Path) -> None:
    found = [
        (number, match[0])
        for number, line in enumerate(file.read_text().splitlines(), 1)
        for match in [BANNED.search(line)]
        if match
    ]
    assert found == []


def test_a_long_sentence_is_found_and_code_and_tables_are_not_counted() -> None:
    words = "one " * 30
    assert too_long(_without_code(f"Fine. It has {words}words."))
    assert too_long(_visible(f"<p>It has {words}words.</p>"))
    assert not too_long(_without_code(f"```\n{words}\n```\n| {words} |\n"))
    assert BANNED.search("It is told at once")
