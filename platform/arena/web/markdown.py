"""Markdown as HTML: CommonMark with tables, raw HTML shown as text, headings below the page's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

Link = Callable[[str], str | None]

# Blocks that may be wider than a phone scroll by themselves, and can be reached by keyboard to do so.
_SCROLLS = {
    "<pre>": '<pre tabindex="0">',
    "<table>": '<div class="scroll" tabindex="0"><table>',
    "</table>": "</table></div>",
}
_markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def render(text: str, *, link: Link = lambda target: target, anchors: bool = False) -> SafeString:
    """Renders `text`; its first-level headings are left out (the page has one), the others keep their level.

    link: target of a link -> where it leads, None to leave its text only. anchors: whether headings can be linked to.
    """
    tokens = list(_body(_markdown.parse(text), anchors=anchors))
    for token in tokens:
        if token.children:
            token.children = list(_linked(token.children, link))
    html = str(_markdown.renderer.render(tokens, _markdown.options, {}))
    for plain, scrolling in _SCROLLS.items():  # tags only: in text they are escaped
        html = html.replace(plain, scrolling)
    # markdown-it escapes all text and refuses javascript:, vbscript:, file: and data: links.
    return SafeString(mark_safe(html))  # noqa: S308


def anchor(heading: str) -> str:
    """The name by which a heading is linked to, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def _body(tokens: Sequence[Token], *, anchors: bool) -> Iterator[Token]:
    """The tokens outside first-level headings; cells of tables without style attributes, which the policy forbids."""
    inside = False
    for token, following in zip(tokens, [*tokens, None][1:], strict=True):
        title = token.tag == "h1"
        inside = (inside or title) and not (title and token.type == "heading_close")
        if anchors and token.type == "heading_open" and following is not None:
            token.attrs["id"] = anchor(following.content)
        if token.type in ("th_open", "td_open"):
            right = "right" in str(token.attrs.pop("style", ""))
            token.attrs |= ({"class": "n"} if right else {}) | ({"scope": "col"} if token.tag == "th" else {})
        if not inside and not title:
            yield token


def _linked(tokens: Sequence[Token], link: Link) -> Iterator[Token]:
    """The tokens of a line, with every link led elsewhere or taken away."""
    kept = list[bool]()
    for token in tokens:
        if token.type == "link_open":
            target = link(str(token.attrs["href"]))
            kept.append(target is not None)
            if target is None:
                continue
            token.attrs["href"] = target
        elif token.type == "link_close" and not kept.pop():
            continue
        yield token
