"""Baselines: which of them enter a board is said by its pack, and one that cannot is skipped with one line."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from django.core.management import call_command

from arena.challenges.models import Challenge
from arena.challenges.services import publish
from arena.submissions.models import Submission
from evaluator.manifests.challenge_packs import PACKS, list_packs, load_pack
from evaluator.manifests.spec import Challenge as Manifest
from evaluator.manifests.spec import Pack, parse_toml
from tests.web.backend_support import good_files, small_challenge

pytestmark = pytest.mark.django_db
CERTIFICATE = '[certificate]\nmethod = "smoothing"\nsigma = 0.25\n'


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of baselines instead of the project's own."""
    folder = tmp_path / "baselines"
    for name in ("mnist-a", "mnist-b", "cifar10-a"):
        write_baseline(folder / name, name)
    write_baseline(folder / "mnist-smooth", "mnist-smooth", CERTIFICATE)
    monkeypatch.setattr("arena.submissions.baselines.enter_baselines.__kwdefaults__", {"folder": folder})
    return folder


def write_baseline(folder: Path, name: str, more: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in good_files(name).items():
        (folder / file).write_bytes(data if isinstance(data, bytes) else data.encode())
    (folder / "defense.toml").write_text((folder / "defense.toml").read_text() + more)


def seed() -> tuple[list[str], list[str]]:
    """The lines that seed_baselines says, and those that it warns with."""
    said, warned = io.StringIO(), io.StringIO()
    call_command("seed_baselines", stdout=said, stderr=warned, no_color=True)
    return said.getvalue().splitlines(), warned.getvalue().splitlines()


def names() -> list[str]:
    return [submission.name for submission in Submission.objects.order_by("pk")]


def test_a_pack_that_names_no_baseline_gets_none(shipped: Path) -> None:
    small_challenge()
    assert seed() == ([], [])
    assert not names()


def test_a_pack_says_which_baselines_enter_and_in_which_order_once(shipped: Path) -> None:
    small_challenge(baselines=["mnist-b", "mnist-a"])
    said, warned = seed()
    assert [line.rpartition(" ")[0] for line in said] == ["mnist-linf: mnist-b entered as", "mnist-linf: mnist-a entered as"]
    assert seed() == (["mnist-linf: mnist-b entered already", "mnist-linf: mnist-a entered already"], [])
    assert (names(), warned) == (["mnist-b", "mnist-a"], [])
    [team, user] = Submission.objects.values_list("team__name", "user__username").distinct().get()
    assert (team, user) == ("Redoubt baselines", "redoubt-baselines")
    assert not Submission.objects.all()[0].user.has_usable_password()  # type: ignore[union-attr]


def test_a_baseline_that_cannot_enter_is_skipped_with_one_line_and_the_others_enter(shipped: Path) -> None:
    small_challenge(baselines=["mnist-smooth", "mnist-aa", "cifar10-a", "mnist-b"])
    said, warned = seed()
    assert names() == ["mnist-b"]
    assert len(said) == 1
    for line, name, why in zip(
        warned,
        ("mnist-smooth", "mnist-aa", "cifar10-a"),
        (
            '"smoothing" says nothing about linf',
            'no such baseline. Did you mean "mnist-a"?',
            'not for images of "mnist".',
        ),
        strict=True,
    ):
        assert line.startswith(f"mnist-linf: baseline {name} is skipped: ")
        assert why in line


def test_the_phases_example_of_the_guide_enters_nothing(shipped: Path) -> None:
    guide = (PACKS.parent / "docs" / "organising.md").read_text()
    example = guide[guide.index("## Phases") :].split("```toml\n")[1].split("```")[0]
    manifest = parse_toml(example.encode(), Manifest, where="challenge.toml")
    publish(pack=Pack(slug="autumn", folder=None, challenge=manifest, digest="0" * 64))
    assert seed() == ([], [])


def test_nothing_is_entered_on_a_challenge_whose_folder_is_gone(shipped: Path, tmp_path: Path) -> None:
    for slug in ("mnist-stays", "mnist-goes"):
        (tmp_path / "packs" / slug).mkdir(parents=True)
        text = 'title = "MNIST"\n[data]\ndataset = "mnist"\nexamples = 9\n[threat]\nkind = "linf"\nepsilon = 0.3\n'
        (tmp_path / "packs" / slug / "challenge.toml").write_text(f'{text}[baselines]\nenter = ["mnist-a"]\n')
    call_command("publish_packs", root=tmp_path / "packs", stdout=io.StringIO())
    shutil.rmtree(tmp_path / "packs" / "mnist-goes")
    call_command("publish_packs", root=tmp_path / "packs", stdout=io.StringIO())
    assert seed()[1] == []
    assert list(Submission.objects.values_list("challenge__slug", flat=True)) == ["mnist-stays"]


def test_a_baseline_with_new_weights_replaces_the_old_entry(shipped: Path) -> None:
    small_challenge(baselines=["mnist-a"])
    seed()
    (shipped / "mnist-a" / "TRAINING.md").write_text("again")
    seed()
    assert Submission.objects.filter(withdrawn=None).count() == 1
    assert Submission.objects.count() == 2


def test_every_baseline_that_a_shipped_pack_names_enters_it() -> None:
    for slug in list_packs():
        publish(pack=load_pack(slug))
    said, warned = seed()
    assert not warned
    wanted = {(c.slug, name) for c in Challenge.objects.all() for name in c.spec.baselines.enter}
    assert {tuple(line.split(" ")[:2]) for line in said} == {(f"{slug}:", name) for slug, name in wanted}
    assert said[0].startswith("mnist-linf: mnist-standard entered as")
