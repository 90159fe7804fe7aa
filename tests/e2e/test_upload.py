"""The product's promise in a real browser: a defense goes in, an honest score comes out, the board moves by itself."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import Visit, becomes_true, picture
from tests.e2e.site import ROOT, Site

BASELINE = ROOT / "evaluator" / "defenses" / "baselines" / "mnist-standard"
EXAMPLES = 200
JUDGED = 240_000  # milliseconds that the real evaluation may take on a busy machine
# A bar of progress comes and goes: it is kept that there was one, however seldom this process gets to look.
PROGRESS = """new MutationObserver(() => {
  if (document.querySelector("progress, [role=progressbar]")?.checkVisibility()) window.progressed = true;
}).observe(document.body, { subtree: true, childList: true, attributes: true })"""


@pytest.fixture(scope="module")
def working_site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with one small challenge, nobody on it, and a worker at work."""
    with Site(tmp_path_factory.mktemp("working")) as running:
        running.season("challenge", str(EXAMPLES))
        running.serve()
        running.work()
        yield running


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A shipped baseline, zipped as a team would."""
    path = tmp_path / "baseline.zip"
    with zipfile.ZipFile(path, "w") as bundle:
        for name in ("defense.toml", "weights.safetensors"):
            bundle.write(BASELINE / name, name)
    return path


def _sign_up(page: Page, name: str) -> None:
    page.get_by_label("User name").fill(name)
    page.get_by_label("Email address").fill(f"{name}@example.org")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Sign up").click()


def test_uploaded_defense_is_judged_live_and_its_rank_appears_without_reload(
    working_site: Site, visit: Visit, archive: Path
) -> None:
    board = visit(f"{working_site.url}/challenges/mnist-linf/")
    expect(board.get_by_text("No defense is ranked yet.")).to_be_visible()
    board.evaluate("window.neverReloaded = true")
    board.evaluate(PROGRESS)

    team = visit(f"{working_site.url}/challenges/mnist-linf/")
    team.get_by_role("link", name="Submit a defense").click()
    team.get_by_role("link", name="Sign up").last.click()
    _sign_up(team, "alice")
    expect(team.get_by_role("heading", name="Submit a defense")).to_be_visible()
    team.get_by_label("Archive").set_input_files(archive)
    team.get_by_role("button", name="Upload and evaluate").click()
    team.wait_for_url(re.compile("/entries/"))
    team.evaluate("window.neverReloaded = true")

    # The board is told of the entry, then of its progress, then of its verdict.
    expect(board.get_by_role("row").filter(has_text="alice")).to_be_visible()
    becomes_true(board, "window.progressed === true")
    picture(board, "upload-board-running")
    ranked = board.locator("tr[data-rank='1']")
    expect(ranked).to_contain_text("alice", timeout=JUDGED)
    expect(ranked).to_contain_text("%")
    expect(board.locator("#announcements")).to_contain_text("enters at rank 1")
    assert board.evaluate("window.neverReloaded") is True
    picture(board, "upload-board-ranked")

    # So is the entry's own page; both say the same, and the receipt can be taken home.
    expect(team.get_by_text("verified")).to_be_visible()
    assert team.evaluate("window.neverReloaded") is True
    robust = team.get_by_role("list", name="Result").locator(".figure").first.inner_text()
    assert robust.removesuffix(" %") in ranked.inner_text()
    with team.expect_download() as receipt:
        team.get_by_role("link", name="Download the receipt").click()
    assert '"robust_bits"' in receipt.value.path().read_text()
    picture(team, "upload-entry")


def test_refused_archive_is_explained_next_to_the_field(working_site: Site, visit: Visit, tmp_path: Path) -> None:
    page = visit(f"{working_site.url}/sign-up/?next=/challenges/mnist-linf/submit/")
    _sign_up(page, "bob")
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("../outside.txt", "climbs out")
    page.get_by_label("Archive").set_input_files(path)
    page.get_by_role("button", name="Upload and evaluate").click()
    field = page.get_by_label("Archive")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator(f"#{field.get_attribute('aria-describedby').split()[-1]}")).to_be_visible()  # type: ignore[union-attr]
    expect(page.locator(".errorlist")).to_contain_text("outside.txt")


def test_owner_cancels_a_waiting_evaluation(site: Site, visit: Visit) -> None:
    page = visit(f"{site.url}/entries/{site.ids['waiting']}/", user="alice")
    page.get_by_role("button", name="Cancel the evaluation").click()
    expect(page.get_by_text("The evaluation was cancelled.")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel the evaluation")).to_have_count(0)
