"""A board that changes under the reader's eyes, and leaves them where they are."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.e2e.conftest import Visit, becomes_true
from tests.e2e.site import Site


def draw_two_frames(page: Page) -> None:
    """Returns when every animation that was due has started."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_fall_marks_only_its_row_says_it_and_keeps_focus_scroll_and_selection(site: Site, visit: Visit) -> None:
    page = visit(f"{site.url}/challenges/mnist-linf/")
    expect(page.locator(".live.on")).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": 400})
    page.get_by_role("link", name="IBP small").focus()
    page.evaluate("getSelection().selectAllChildren(document.activeElement)")
    before = page.evaluate("(window.scrollTo(0, 150), window.neverReloaded = true, window.scrollY)")
    page.evaluate("window.flashed = []; document.onanimationstart = (e) => flashed.push(e.target.dataset.name); 0")

    site.season("fall", "Wide CNN, TRADES", "0.891")

    expect(page.locator("tr[data-name='Wide CNN, TRADES']")).to_have_attribute("data-rank", "2")
    expect(page.locator("#announcements")).to_contain_text("Wide CNN, TRADES is now rank 2")
    becomes_true(page, "new Set(flashed).size >= 2")  # an animation starts a frame after its row has changed
    draw_two_frames(page)
    assert set(page.evaluate("flashed")) == {"Wide CNN, TRADES", "PGD-40 CNN"}
    assert page.evaluate("document.activeElement.textContent") == "IBP small"
    assert page.evaluate("getSelection().toString()") == "IBP small"
    assert page.evaluate("[window.scrollY, window.neverReloaded]") == [before, True]


def test_nothing_flashes_for_readers_who_want_no_motion(site: Site, visit: Visit) -> None:
    page = visit(f"{site.url}/challenges/mnist-linf/", reduced_motion="reduce")
    page.evaluate("document.addEventListener('animationstart', () => (window.moved = true))")
    site.season("fall", "Standard CNN", "0.001")
    expect(page.locator("tr[data-name='Standard CNN']")).to_contain_text("0.1 %")
    draw_two_frames(page)
    assert page.evaluate("window.moved") is None


def test_page_that_was_cut_off_says_so_and_catches_up(site: Site, visit: Visit) -> None:
    page = visit(f"{site.url}/challenges/mnist-linf/")
    expect(page.locator(".live.on")).to_be_visible()
    page.context.set_offline(True)
    page.context.set_offline(False)
    site.season("fall", "IBP small", "0.88")
    expect(page.locator("tr[data-name='IBP small']")).to_contain_text("88.0 %")
