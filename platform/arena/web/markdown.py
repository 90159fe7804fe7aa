"""A challenge's README as HTML: CommonMark with tables, raw HTML shown as text, headings below the page's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

# Blocks that may be wider than a phone scroll by themselves, and can be reached by keyboard to do so.
_SCROLLS = {
    "<pre>": '<pre tabindex="0">',
    "<table>": '<div class="scroll" tabindex="0"><table>',
    "</table>": "</table></div>",
}
_markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def render(text: str) -> SafeString:
    """Renders `text`; its first-level headings are left out (the page has one), the others keep their level."""
    html = str(_markdown.renderer.render(list(_body(_markdown.parse(text))), _markdown.options, {}))
    for plain, scrolling in _SCROLLS.items():  # tags only: in text they are escaped
        html = html.replace(plain, scrolling)
    # markdown-it escapes all text and refuses javascript:, vbscript:, file: and data: links.
    return SafeString(mark_safe(html))  # noqa: S308


def _body(tokens: Sequence[Token]) -> Iterator[Token]:
    """The tokens outside first-level headings; cells of tables without style attributes, which the policy forbids."""
    inside = False
    for token in tokens:
        title = token.tag == "h1"
        inside = (inside or title) and not (title and token.type == "heading_close")
        if token.type in ("th_open", "td_open"):
            right = "right" in str(token.attrs.pop("style", ""))
            token.attrs |= ({"class": "n"} if right else {}) | ({"scope": "col"} if token.tag == "th" else {})
        if not inside and not title:
            yield token
