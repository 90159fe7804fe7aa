"""Browser tests: Debian's Chromium (or the one named by REDOUBT_CHROMIUM) against real processes.

The browser lives as long as a module, not a session: while Playwright's loop runs, Django refuses its database in this
process. The site may live longer: it is other processes.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect, sync_playwright

from tests.e2e.season import PASSWORD
from tests.e2e.site import ROOT, Site
from tests.needs import CHROMIUM

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
expect.set_options(timeout=60_000)  # milliseconds: how long a busy machine may take; what is there is seen at once
PICTURES = ROOT / "artifacts" / "screenshots"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks everything here, and keeps it in one process under xdist."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path."""
    path = os.environ.get("REDOUBT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        CHROMIUM.skip()
    return path


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def site(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with a season on it and no worker: nothing moves unless a test moves it."""
    with Site(tmp_path_factory.mktemp("site")) as running:
        running.ids = running.season("season")
        running.serve()
        yield running


@pytest.fixture(scope="session")
def sessions() -> dict[tuple[str, str], StorageState]:
    """(site, user) -> the cookies of one log-in, made once: a password is meant to be slow to check."""
    return {}


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, sessions: dict[tuple[str, str], StorageState]) -> Iterator[Visit]:
    """Opens an address in a context of its own; fails the test on console errors, page errors and foreign requests."""
    contexts, faults = [], []

    def open_page(address: str, *, user: str | None = None, width: int = 1280, **options: object) -> Page:
        host = address.split("/")[2]
        known = sessions.get((host, user or ""))
        context = browser.new_context(viewport={"width": width, "height": 844}, storage_state=known, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
        page.on("console", lambda said: faults.append(f"{page.url}: {said.text}") if said.type == "error" else None)
        page.on("request", lambda sent: None if f"//{host}/" in sent.url else faults.append(f"asked another host: {sent.url}"))
        if user is not None and known is None:
            log_in(page, f"http://{host}", user)
            sessions[host, user] = context.storage_state()
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not faults, faults


def picture(page: Page, name: str) -> None:
    """A picture to look at, only where somebody asks for pictures (`make e2e` does): they take longer than the tests."""
    if os.environ.get("REDOUBT_SCREENSHOTS"):
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


def becomes_true(page: Page, expression: str, *, seconds: float = 240) -> None:
    """Waits for it. The second look of Playwright's wait_for_function is what the site's own policy forbids."""
    until = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < until, expression
        page.wait_for_timeout(50)


def log_in(page: Page, url: str, user: str) -> None:
    """Logs in through the form."""
    page.goto(f"{url}/log-in/")
    page.get_by_label("User name or email address").fill(user)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{url}/")
