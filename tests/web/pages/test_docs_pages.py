"""The documentation on the site: the repository's own files, with links that lead somewhere, search, and references."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from django.test import Client

from arena.web.docs import pages, reference
from arena.web.docs.search import search

ROOT = Path(__file__).resolve().parents[3]
HREF = re.compile(r'href="(/docs/[^"#?]*)(?:#([^"]*))?"')


def test_every_markdown_file_of_docs_is_in_the_index() -> None:
    files = {str(file.relative_to(ROOT)) for file in (ROOT / "docs").rglob("*.md")} - {"docs/README.md"}
    assert files <= {str(page.file) for page in pages.pages()}


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: page.slug)
def test_every_page_is_shown_and_its_links_lead_to_pages_and_headings(client: Client, page: pages.Page) -> None:
    response = client.get(page.url)
    assert response.status_code == 200
    text = response.content.decode()
    assert f"<h1>{page.title}</h1>" in text
    for address, anchor in set(HREF.findall(text)):
        target = client.get(address)
        assert target.status_code in (200, 301), address
        assert not anchor or f'id="{anchor}"' in target.content.decode(), f"{address}#{anchor}"


def test_a_link_to_code_is_plain_text(client: Client) -> None:
    assert "docs/decisions" not in re.findall(r'href="([^"]*)"', client.get("/docs/contributing/").content.decode())


def test_search_finds_the_part_that_holds_every_word(client: Client) -> None:
    hits = search("Average Certified RADIUS")
    assert hits
    assert hits[0].part.page.slug in ("scoring", "certificates")
    assert "certified" in hits[0].excerpt.casefold()
    assert 'class="hit"' in client.get("/docs/", {"q": "average certified radius"}).content.decode()
    assert "No page holds all of these words" in client.get("/docs/", {"q": "zyzzyva"}).content.decode()


def test_what_is_looked_for_is_shown_as_text(client: Client) -> None:
    text = client.get("/docs/", {"q": "<script>alert(1)</script>"}).content.decode()
    assert "<script>alert" not in text


def test_old_addresses_lead_to_the_same_guides(client: Client) -> None:
    assert client.get("/docs/defense/").headers["Location"] == "/docs/defense-submissions/"
    assert client.get("/docs/scoring/").status_code == 200
    assert client.get("/docs/no-such-page/").status_code == 404


def test_the_library_reference_shows_signatures_and_docstrings(client: Client) -> None:
    modules = reference.modules()
    assert {"evaluator.judging.evaluation", "evaluator.threats.linf", "sandbox.base"} <= set(modules)
    text = client.get("/docs/library/evaluator.judging.evaluation/").content.decode()
    assert "evaluate(" in text
    assert "Judges a model." in text
    assert client.get("/docs/library/evaluator.no_such/").status_code == 404
    assert client.get("/docs/library/").status_code == 200


def test_the_page_of_the_api_needs_nothing_from_elsewhere(client: Client) -> None:
    text = client.get("/docs/api/").content.decode()
    sources = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(sources) >= 5
    assert all(source.startswith("/") for source in sources)
    assert re.findall(r"<script(?![^>]* src=)", text) == []
    assert "swagger" in client.get("/docs/api/", {"script": ""}).content.decode().casefold()


def test_the_wheel_holds_the_pages() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    tops = {page.file.parts[0] for page in pages.pages()}
    assert tops <= set(build["force-include"])
    assert all(target.startswith("arena/web/documents/") for target in build["force-include"].values())
