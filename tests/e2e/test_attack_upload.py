"""The other half of the promise: an attack goes in by one window, and a defense falls in another that nobody reloads."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from evaluator.attacks import PGD
from evaluator.data import examples
from evaluator.defenses.architectures import load_weights
from evaluator.manifests.data_specs import DataSpec
from evaluator.threats import Linf
from tests.e2e.conftest import Visit, picture
from tests.e2e.season_matrix import BASELINES
from tests.e2e.site import Site

EXAMPLES = 20
ATTACKED = 10  # examples that the array moves, more than what keeps the target first
PLAYED = 240_000  # milliseconds that the first look and two cells may take on a busy machine


@pytest.fixture(scope="module")
def targets(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with two real defenses that stand, and a worker at work."""
    with Site(tmp_path_factory.mktemp("targets")) as running:
        running.season("targets", str(EXAMPLES))
        running.serve()
        running.work()
        yield running


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A real attack on the first defense's weights, as an array."""
    part = examples(DataSpec(dataset="mnist", examples=EXAMPLES))
    net = load_weights("mnist-cnn", BASELINES / "mnist-standard" / "weights.safetensors").eval()
    points = part.x.clone()
    points[:ATTACKED] = PGD(steps=20, loss="margin")(net, part.x[:ATTACKED], part.y[:ATTACKED], Linf(0.1))
    buffer = io.BytesIO()
    np.save(buffer, points.numpy())
    path = tmp_path / "attack.zip"
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("attack.toml", 'name = "Ten steps"\nformat = "array"\ntarget = "Standard"\narray = "adversarial.npy"\n')
        bundle.writestr("adversarial.npy", buffer.getvalue())
    return path


def test_uploaded_array_makes_a_defense_fall_in_another_window_without_reload(
    targets: Site, visit: Visit, archive: Path
) -> None:
    board = visit(f"{targets.url}/challenges/mnist-linf/")
    expect(board.locator("tr[data-rank='1']")).to_contain_text("Standard")
    expect(board.locator(".live.on")).to_be_visible()
    board.evaluate("window.neverReloaded = true")

    team = visit(f"{targets.url}/challenges/mnist-linf/attacks/", user="alice")
    team.get_by_role("link", name="Submit an attack").first.click()
    team.get_by_label("Archive").set_input_files(archive)
    team.get_by_role("button", name="Upload").click()
    team.wait_for_url(re.compile("/entries/"))
    team.evaluate("window.neverReloaded = true")

    fallen = board.locator("tr[data-name='Standard']")
    expect(fallen).to_have_attribute("data-rank", "2", timeout=PLAYED)
    expect(fallen).to_contain_text("by Ten steps")
    expect(board.locator("tr[data-rank='1']")).to_contain_text("Proven")
    expect(board.locator("#announcements")).to_contain_text("Standard is now rank 2")
    assert float(str(fallen.get_attribute("data-score"))) < 0.9
    assert board.evaluate("window.neverReloaded") is True
    picture(board, "attack-board-fallen")

    # The attack's own page followed, too, and leads to what it did.
    expect(team.get_by_text("accepted")).to_be_visible()
    expect(team.get_by_role("row").filter(has_text="Standard")).to_contain_text("new, ", timeout=PLAYED)
    assert team.evaluate("window.neverReloaded") is True
    picture(team, "attack-entry-played")
    team.get_by_role("link", name="Standard").click()
    expect(team.get_by_text("robust accuracy fell from 20")).to_be_visible()
