"""Without a mouse, and without JavaScript."""

from __future__ import annotations

import zipfile
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.e2e.conftest import Visit, log_in
from tests.e2e.site import Site
from tests.e2e.test_upload import BASELINE

OUTLINE = "getComputedStyle(document.activeElement).outlineStyle"


def _tab_to(page: Page, name: str) -> None:
    """Presses Tab until the element of that accessible text has the focus; every stop on the way shows where it is."""
    for _ in range(60):
        page.keyboard.press("Tab")
        assert page.evaluate(OUTLINE) != "none", page.evaluate("document.activeElement.outerHTML")
        if page.evaluate("(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()") == name:
            return
    raise AssertionError(f"{name!r} cannot be reached by keyboard")


def test_first_tab_stop_skips_to_the_content(site: Site, visit: Visit) -> None:
    page = visit(f"{site.url}/challenges/mnist-linf/")
    page.keyboard.press("Tab")
    link = page.get_by_role("link", name="Skip to the content")
    expect(link).to_be_focused()
    expect(link).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Submit a defense")).to_be_focused()


def test_account_is_made_and_an_entry_opened_by_keyboard_alone(site: Site, visit: Visit) -> None:
    page = visit(f"{site.url}/sign-up/")
    for label, text in (("User name", "kim"), ("Email address", "kim@example.org"), ("Password", "correct horse battery")):
        _tab_to(page, label)
        page.keyboard.type(text)
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="kim")).to_be_visible()
    _tab_to(page, "MNIST, L∞ 0.3")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="MNIST, L∞ 0.3")).to_be_visible()
    _tab_to(page, "PGD-40 CNN")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="PGD-40 CNN")).to_be_visible()
    _tab_to(page, "Download the receipt")


def test_board_is_read_without_javascript(site: Site, visit: Visit) -> None:
    page = visit(f"{site.url}/challenges/mnist-linf/", java_script_enabled=False)
    expect(page.get_by_role("row").filter(has_text="PGD-40 CNN")).to_contain_text("89.3 %")
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(page.get_by_text("reload to see changes")).to_be_visible()


def test_defense_is_entered_without_javascript(site: Site, visit: Visit, tmp_path: Path) -> None:
    archive = tmp_path / "baseline.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        for name in ("defense.toml", "weights.safetensors"):
            bundle.write(BASELINE / name, name)
    page = visit(f"{site.url}/docs/", java_script_enabled=False)
    log_in(page, site.url, "bob")
    page.goto(f"{site.url}/challenges/mnist-l2/submit/")
    page.get_by_label("Archive").set_input_files(archive)
    page.get_by_role("button", name="Upload and evaluate").click()
    expect(page.get_by_text("queued, ")).to_be_visible()


def test_matrix_is_sorted_and_a_cell_is_opened_without_javascript(site: Site, visit: Visit) -> None:
    page = visit(f"{site.url}/challenges/mnist-linf-01/matrix/", java_script_enabled=False)
    page.get_by_role("link", name="Guided local search").click()
    expect(page.get_by_role("columnheader", name="Guided local search")).to_have_attribute("aria-sort", "descending")
    expect(page.get_by_role("row").nth(1)).to_contain_text("IBP small")
    page.get_by_role("row").nth(1).get_by_role("cell").nth(1).get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Guided local search against IBP small")
    expect(page.get_by_role("img").first).to_be_visible()
