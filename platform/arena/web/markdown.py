"""A challenge's README as HTML: CommonMark with tables, raw HTML shown as text, headings below the page's own."""

from __future__ import annotations

from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

_markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def render(text: str) -> SafeString:
    """Renders `text`; its first-level headings are left out (the page has one), the others keep their level."""
    tokens = _markdown.parse(text)
    kept = []
    skipping = False
    for token in tokens:
        if token.type == "heading_open" and token.tag == "h1":
            skipping = True
        if not skipping:
            kept.append(token)
        if token.type == "heading_close" and token.tag == "h1":
            skipping = False
    # markdown-it escapes all text and refuses javascript:, vbscript:, file: and data: links.
    return mark_safe(_markdown.renderer.render(kept, _markdown.options, {}))  # noqa: S308
