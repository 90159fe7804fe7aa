"""Every page in a real browser: accessible, quiet, still, and as wide as the screen; with pictures for people to look at."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.e2e.conftest import Visit, picture
from tests.e2e.site import Site

# Name -> (address, who looks at it). {key} stands for the public id of the season's entry of that key.
PAGES = {
    "home": ("/", None),
    "board": ("/challenges/mnist-linf/", None),
    "board-empty": ("/challenges/mnist-l2/", None),
    "board-filtered": ("/challenges/mnist-linf/?q=ibp&verified=1", None),
    "board-no-match": ("/challenges/mnist-linf/?q=nobody", None),
    "board-fallen": ("/challenges/mnist-linf-01/", None),
    "board-certified": ("/challenges/mnist-certified/", None),
    "board-in-phase": ("/challenges/mnist-finals/", None),
    "board-between-phases": ("/challenges/mnist-between/", None),
    "rules-phases": ("/challenges/mnist-between/rules/", None),
    "submit-between-phases": ("/challenges/mnist-between/submit/", "alice"),
    "entry-sealed": ("/entries/{sealed}/", None),
    "entry-proven": ("/entries/{proven}/", None),
    "entry-refuted": ("/entries/{refuted}/", None),
    "attacks": ("/challenges/mnist-linf-01/attacks/", None),
    "matrix": ("/challenges/mnist-linf-01/matrix/", None),
    "history": ("/challenges/mnist-linf-01/history/", None),
    "attack": ("/entries/{attack}/", None),
    "attack-playing": ("/entries/{attack_late}/", "dan"),
    "attack-refused": ("/entries/{attack_refused}/", "dan"),
    "attack-new": ("/entries/{attack_new}/", None),
    "cell": ("/cells/{cell}/", None),
    "cell-failed": ("/cells/{cell_failed}/", "dan"),
    "submit-attack": ("/challenges/mnist-linf-01/submit/?kind=attack", "alice"),
    "entry-fallen": ("/entries/{attacked}/", None),
    "rules": ("/challenges/mnist-linf/rules/", None),
    "submit": ("/challenges/mnist-linf/submit/", "alice"),
    "entry": ("/entries/{ibp}/", None),
    "entry-unverified": ("/entries/{thermometer}/", None),
    "entry-running": ("/entries/{running}/", "alice"),
    "entry-queued": ("/entries/{queued}/", None),
    "entry-failed": ("/entries/{failed}/", "alice"),
    "entry-our-failure": ("/entries/{broken}/", "alice"),
    "entry-cancelled": ("/entries/{cancelled}/", "alice"),
    "embed": ("/entries/{ibp}/embed/", None),
    "account": ("/account/", "alice"),
    "teams": ("/teams/", "alice"),
    "team": ("/teams/alpine-robust/", "alice"),
    "sign-up": ("/sign-up/", None),
    "log-in": ("/log-in/", None),
    "docs": ("/docs/", None),
    "docs-search": ("/docs/?q=robust+accuracy", None),
    "docs-page": ("/docs/scoring/", None),
    "docs-library": ("/docs/library/", None),
    "docs-module": ("/docs/library/evaluator.judging.evaluation/", None),
}
CHECKED = (("desktop", "light"), ("phone", "dark"))  # each layout and each palette once: axe takes most of the time
SHIFT = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => { for (const one of list.getEntries()) sum += one.value; })
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 150);
})"""


def _violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{item['id']}: {item['help']}: {[node['target'] for node in item['nodes']]}" for item in found]


def _overflow(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.mark.parametrize("name", PAGES)
def test_page_is_accessible_and_fits_in_light_and_dark_on_phone_and_desktop(site: Site, visit: Visit, name: str) -> None:
    address, user = PAGES[name]
    page = visit(site.url + address.format(**site.ids), user=user, reduced_motion="reduce")
    assert page.evaluate(SHIFT) < 0.01
    for width, device in ((1440, "desktop"), (768, "tablet"), (390, "phone")):
        page.set_viewport_size({"width": width, "height": 844})
        assert _overflow(page) <= 0, device
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            picture(page, f"{name}-{device}-{scheme}")
            if (device, scheme) in CHECKED:
                assert not _violations(page), (device, scheme)


def test_missing_page_is_in_the_look(site: Site, visit: Visit) -> None:
    page = visit(site.url + "/docs/")
    page.goto("about:blank")
    answer = page.context.request.get(f"{site.url}/no/such/page/")
    assert answer.status == 404
    page.set_content(answer.text())
    assert page.get_by_role("heading", name="There is nothing here for you").is_visible()
    assert page.get_by_role("navigation", name="Main").is_visible()


SIZES = """["navigation", "resource"].flatMap(kind => performance.getEntriesByType(kind)).map(entry => entry.encodedBodySize)"""


def test_board_is_light_to_load(site: Site, visit: Visit) -> None:
    page = visit(f"{site.url}/challenges/mnist-linf/")
    sizes: list[int] = page.evaluate(SIZES)
    assert max(sizes[1:]) > 0, "the style sheet and the script count, from a cache or not"
    assert sum(sizes) < 200_000
