"""A pack with its own images on the site: stored once, brought to every machine, shown with the names of its classes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from django.core.management import call_command
from django.test import Client
from typer.testing import CliRunner

from arena.challenges.images import bring
from arena.challenges.models import Challenge
from arena.cli.main import app
from arena.web.images import images_of
from arena.web.wording import data_words
from evaluator.data import own
from evaluator.errors import PlatformError

pytestmark = pytest.mark.django_db

MANIFEST = """title = "Shapes, Linf 0.1"

[data]
dataset = "files"
path = "data/test.npz"
classes = ["circle", "square", "triangle"]
shape = [3, 16, 16]
examples = 12

[threat]
kind = "linf"
epsilon = 0.1
"""


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REDOUBT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "packs" / "shapes"
    (folder / "data").mkdir(parents=True)
    (folder / "challenge.toml").write_text(MANIFEST)
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    np.savez(folder / "data/test.npz", x=images, y=np.arange(20) % 3)
    return folder


def frozen(pack: Path) -> Path:
    assert CliRunner().invoke(app, ["challenge", "freeze", str(pack)]).exit_code == 0
    return pack


def test_freezing_writes_the_digest_into_the_data_table_and_can_be_done_again(pack: Path) -> None:
    once = frozen(pack).joinpath("challenge.toml").read_text()
    assert once.startswith(MANIFEST.split("\n\n[threat]")[0] + '\ndigest = "')
    assert once.endswith(MANIFEST[MANIFEST.index("[threat]") :])
    assert frozen(pack).joinpath("challenge.toml").read_text() == once
    assert pack.joinpath("data/test.npz.sha256").read_text().endswith("  data/test.npz\n")


def test_participants_get_the_images_as_arrays(pack: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert CliRunner().invoke(app, ["data", str(frozen(pack)), "--to", str(out)]).exit_code == 0
    assert np.load(out / "x.npy").shape == (12, 3, 16, 16)
    assert np.load(out / "y.npy").tolist() == [0, 1, 2] * 4
    assert (out / "classes.txt").read_text() == "circle\nsquare\ntriangle\n"


def test_every_machine_gets_the_images_from_the_sites_storage(pack: Path, tmp_path: Path, client: Client) -> None:
    call_command("publish_packs", root=frozen(pack).parent)
    challenge = Challenge.objects.get(slug="shapes")
    data = challenge.spec.data
    assert data_words(challenge.spec) == "12 images of 16 x 16 pixels in 3 classes, the organisers' own"
    assert client.get("/challenges/shapes/rules/").status_code == 200
    shutil.rmtree(tmp_path / "cache")  # another machine
    assert images_of(data) is None
    bring(data)
    assert own.load(data.digest).labels.tolist() == [row % 3 for row in range(20)]
    assert images_of(data) is not None


def test_a_machine_says_what_to_do_where_the_images_are_lost(pack: Path, tmp_path: Path) -> None:
    np.savez(pack / "data/test.npz", x=np.arange(12 * 768).reshape(12, 16, 16, 3) / 9216, y=np.arange(12) % 3)
    data = own.open_pack(frozen(pack)).challenge.data
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(PlatformError, match="Publish the pack again"):
        bring(data)


def test_a_pack_whose_images_changed_keeps_its_last_good_version(pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("publish_packs", root=frozen(pack).parent)
    np.savez(pack / "data/test.npz", x=np.zeros((1, 16, 16, 3), dtype=np.uint8), y=np.zeros(1, dtype=np.int64))
    call_command("publish_packs", root=pack.parent, keep_going=True)
    assert "data/test.npz: has changed since the pack was frozen" in capsys.readouterr().err
    assert Challenge.objects.get(slug="shapes").spec.data.examples == 12
