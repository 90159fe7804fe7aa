"""The pages of the documentation: what docs/README.md links to, in its order, rendered with links that work on the site."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse
from django.utils.safestring import SafeString

from arena.web import markdown

_INDEX = PurePosixPath("docs/README.md")
_SECTION, _ENTRY = re.compile(r"^## (.+)$"), re.compile(r"^- \[([^]]+)\]\(([^)]+)\)(.*)$")


@dataclass(frozen=True)
class Page:
    """One Markdown file. slug: its address below /docs/; file: its path in the repository; about: one line, or empty."""

    slug: str
    title: str
    file: PurePosixPath
    section: str
    about: str

    @property
    def url(self) -> str:
        return reverse("web:docs-page", args=(self.slug,))

    @property
    def text(self) -> str:
        return (Path(settings.REDOUBT_DOCS) / self.file).read_text()


@dataclass(frozen=True)
class Part:
    """A heading of a page and the text below it, up to the next one."""

    page: Page
    title: str
    anchor: str
    text: str

    @property
    def url(self) -> str:
        return f"{self.page.url}#{self.anchor}" if self.anchor else self.page.url


@cache
def pages() -> tuple[Page, ...]:
    """All pages, in the order of the index."""
    section, found = "", []
    for line in (Path(settings.REDOUBT_DOCS) / _INDEX).read_text().splitlines():
        if heading := _SECTION.match(line):
            section = heading[1]
        elif entry := _ENTRY.match(line):
            file = _inside(_INDEX.parent, entry[2])
            found.append(Page(_slug(file), entry[1], file, section, entry[3].lstrip(":, ").rstrip(".")))
    return tuple(found)


def sections() -> dict[str, list[Page]]:
    """Section -> its pages, in the order of the index."""
    grouped: dict[str, list[Page]] = {}
    for page in pages():
        grouped.setdefault(page.section, []).append(page)
    return grouped


def find(slug: str) -> Page | None:
    return next((page for page in pages() if page.slug == slug), None)


@cache
def html(page: Page) -> SafeString:
    """The page's text; a link to another page leads to its address here, one to a file of the repository is plain text."""
    return markdown.render(page.text, anchors=True, link=lambda target: _address(page.file.parent, target))


@cache
def parts() -> tuple[Part, ...]:
    """Every page in pieces, one for each heading."""
    return tuple(part for page in pages() for part in _parts(page))


def _parts(page: Page) -> Iterator[Part]:
    title, anchor, lines, fenced = page.title, "", list[str](), False
    for line in page.text.splitlines():
        fenced ^= line.startswith("```")
        heading = None if fenced else re.match(r"^#{2,4} (.+)$", line)
        if heading is None:
            lines.append(line)
            continue
        yield Part(page, title, anchor, "\n".join(lines))
        title, lines = heading[1].replace("`", ""), []
        anchor = markdown.anchor(heading[1])
    yield Part(page, title, anchor, "\n".join(lines))


def _address(folder: PurePosixPath, target: str) -> str | None:
    """Where a link of a page in `folder` leads on the site; None where it names what the site does not show."""
    parsed = urlsplit(target)
    if parsed.scheme or target.startswith("#"):
        return target
    page = next((page for page in pages() if page.file == _inside(folder, parsed.path)), None)
    if page is not None:
        return page.url + (f"#{parsed.fragment}" if parsed.fragment else "")
    return reverse("web:docs") if _inside(folder, parsed.path) == _INDEX else None


def _inside(folder: PurePosixPath, target: str) -> PurePosixPath:
    """The path in the repository of a relative link."""
    parts: list[str] = []
    for part in (folder / target).parts:
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    return PurePosixPath(*parts)


def _slug(file: PurePosixPath) -> str:
    inner = file.relative_to("docs") if file.parts[0] == "docs" else file
    return str(inner.with_suffix("")).lower()
