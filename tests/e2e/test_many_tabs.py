"""Many pages of one browser: a stream for all of them, and none while nobody looks."""

from __future__ import annotations

import time

from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import Visit
from tests.e2e.site import Site

TABS = 8  # more than the six connections that a browser opens to one host
ROW = "tr[data-name='Standard CNN']"


def _show(page: Page, *, seen: bool) -> None:
    """Hides the page as another tab in front of it would; a headless browser shows all of them."""
    page.evaluate(
        """(hidden) => {
          Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        not seen,
    )


def _streams_become(site: Site, number: int) -> None:
    until = time.monotonic() + 60
    while (found := site.streams()) != number:
        assert time.monotonic() < until, f"{found} streams are open instead of {number}"
        time.sleep(0.1)


def _tabs(context: BrowserContext, address: str) -> list[Page]:
    pages = [context.new_page() for _ in range(TABS - 1)]
    for page in pages:
        page.goto(address)
    return pages


def test_eight_tabs_load_on_one_stream_and_all_of_them_stay_live(site: Site, visit: Visit) -> None:
    _streams_become(site, 0)
    address = f"{site.url}/challenges/mnist-linf/"
    first = visit(address)
    pages = [first, *_tabs(first.context, address)]
    for page in pages:
        expect(page.locator(".live.on")).to_be_visible()
    _streams_become(site, 1)
    site.season("fall", "Standard CNN", "0.0031")
    for page in pages:
        expect(page.locator(ROW)).to_contain_text("0.3 %")
    for page in pages[1:]:
        page.close()
    _streams_become(site, 1)
    first.close()
    _streams_become(site, 0)


def test_the_stream_goes_to_a_page_that_is_seen_and_ends_when_none_is(site: Site, visit: Visit) -> None:
    _streams_become(site, 0)
    address = f"{site.url}/challenges/mnist-linf/"
    first = visit(address)
    expect(first.locator(".live.on")).to_be_visible()
    second = first.context.new_page()
    second.goto(address)
    expect(second.locator(".live.on")).to_be_visible()
    _show(first, seen=False)
    _streams_become(site, 1)
    site.season("fall", "Standard CNN", "0.0021")
    expect(second.locator(ROW)).to_contain_text("0.2 %")
    _show(second, seen=False)
    _streams_become(site, 0)
    site.season("fall", "Standard CNN", "0.0041")
    _show(first, seen=True)
    expect(first.locator(ROW)).to_contain_text("0.4 %")
    _streams_become(site, 1)
