"""Publishing: a wrong pack is named by file, line and field, keeps its last good version, and stops nothing else."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from arena.accounts.models import User
from arena.challenges.models import Challenge, PackProblem
from arena.submissions.models import Submission
from evaluator.errors import InputError
from tests.web.backend_support import enter, person

pytestmark = pytest.mark.django_db
GOOD = 'title = "MNIST, Linf"\n[data]\ndataset = "mnist"\nexamples = 20\n[threat]\nkind = "linf"\nepsilon = 0.3\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for slug in ("autumn", "mnist-linf"):
        write(tmp_path / slug)
    return tmp_path


def write(folder: Path, manifest: bytes | str = GOOD, readme: bytes = b"# Rules\n") -> None:
    folder.mkdir(exist_ok=True)
    (folder / "challenge.toml").write_bytes(manifest if isinstance(manifest, bytes) else manifest.encode())
    (folder / "README.md").write_bytes(readme)


def publish(root: Path) -> tuple[list[str], list[str]]:
    """What is said and what is warned of; wrong packs do not stop it."""
    said, warned = io.StringIO(), io.StringIO()
    call_command("publish_packs", root=root, keep_going=True, stdout=said, stderr=warned, no_color=True)
    return said.getvalue().splitlines(), warned.getvalue().splitlines()


WRONG = {
    "unknown field": (GOOD.replace("title", "titel"), b"", "autumn/challenge.toml: line 1, titel: unknown field."),
    "impossible": (GOOD.replace("0.3", "3"), b"", "autumn/challenge.toml: line 7, threat.epsilon: must be at most 1, not 3."),
    "no TOML": (GOOD.replace("[data]", "[data"), b"", "autumn/challenge.toml: is not valid TOML: "),
    "UTF-16": (GOOD.encode("utf-16"), b"", "autumn/challenge.toml: line 1: is not UTF-8 text."),
    "README": (GOOD, b"\xff\xfe", "autumn/README.md: line 1: is not UTF-8 text."),
    "zero byte": (GOOD, b"one\ntwo\0", "autumn/README.md: line 2: holds a zero byte."),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_pack_is_named_keeps_its_last_good_version_and_stops_no_other(root: Path, kind: str) -> None:
    publish(root)
    before = Challenge.objects.values().get(slug="autumn")
    manifest, readme, words = WRONG[kind]
    write(root / "autumn", manifest, readme)
    write(root / "mnist-linf", GOOD.replace("20", "21"))
    said, [warned] = publish(root)
    assert said == ["mnist-linf: rules changed"]
    assert warned.startswith(words)
    assert warned.endswith('"MNIST, Linf" stays as it was published before.')
    assert Challenge.objects.values().get(slug="autumn") == before
    assert PackProblem.objects.get().what == warned
    write(root / "autumn")
    assert publish(root) == (["autumn: unchanged", "mnist-linf: unchanged"], [])
    assert not PackProblem.objects.exists()


def test_a_pack_that_was_wrong_from_the_start_is_reported_to_the_admin_until_its_folder_is_gone(
    root: Path, client: Client
) -> None:
    write(root / "autumn", "titel = 3\n")
    write(root / "My Pack")
    _, warned = publish(root)
    assert len(warned) == 2
    assert all(line.endswith("The site goes on without it.") for line in warned)
    client.force_login(User.objects.create_superuser("root", "root@example.org", "x"))
    page = client.get("/admin/challenges/packproblem/").content.decode()
    assert "autumn/challenge.toml: line 1, titel: unknown field" in page
    assert "its folder&#x27;s name cannot be the pack&#x27;s slug" in page
    shutil.rmtree(root / "autumn")
    shutil.rmtree(root / "My Pack")
    publish(root)
    assert not PackProblem.objects.exists()


def test_the_admins_list_says_what_became_of_each_pack(root: Path, client: Client) -> None:
    publish(root)
    write(root / "autumn", GOOD.replace("0.3", "nan"))
    shutil.rmtree(root / "mnist-linf")
    publish(root)
    client.force_login(User.objects.create_superuser("root", "root@example.org", "x"))
    page = client.get("/admin/challenges/challenge/").content.decode()
    assert "autumn/challenge.toml: line 7, threat.epsilon: must be a finite number, not nan." in page
    assert "its folder is gone since" in page


def test_by_hand_a_wrong_pack_is_a_failure_and_the_others_are_published(root: Path) -> None:
    write(root / "autumn", "titel = 3\n")
    with pytest.raises(CommandError, match=r"autumn/challenge\.toml: line 1, titel"):
        call_command("publish_packs", root=root, stdout=io.StringIO())
    assert Challenge.objects.get().slug == "mnist-linf"


def test_a_byte_order_mark_makes_no_difference(root: Path) -> None:
    publish(root)
    write(root / "autumn", b"\xef\xbb\xbf" + GOOD.encode(), b"\xef\xbb\xbf# Rules\n")
    assert publish(root)[1] == []
    assert Challenge.objects.get(slug="autumn").readme == "# Rules\n"


def test_a_wrong_root_is_an_error(root: Path) -> None:
    (root / "empty").mkdir()
    for wrong, words in (("nowhere", "there is no such folder"), ("empty", "holds no pack"), ("autumn", "is a pack itself")):
        with pytest.raises(CommandError, match=words):
            publish(root / wrong)
    assert not Challenge.objects.exists()


def test_a_root_without_packs_is_an_error_and_what_cannot_be_read_is_hidden_all_the_same(root: Path) -> None:
    publish(root)
    Challenge.objects.filter(slug="autumn").update(manifest={"of": "another version"})
    (root / "empty").mkdir()
    for options in ({}, {"keep_going": True}):
        with pytest.raises(CommandError, match="holds no pack"):
            call_command("publish_packs", root=root / "empty", **options)
    assert not Challenge.objects.get(slug="autumn").published


def test_a_challenge_whose_folder_is_gone_keeps_its_board_and_takes_no_entry_until_it_is_back(root: Path) -> None:
    publish(root)
    shutil.move(root / "autumn", root.parent / "kept")
    said, _ = publish(root)
    assert said == [
        "mnist-linf: unchanged",
        f"autumn: its folder {root / 'autumn'} is gone; the board stays, nothing is entered on it",
    ]
    alice, challenge = person(), Challenge.objects.get(slug="autumn")
    assert challenge.published
    with pytest.raises(InputError, match="takes no entries: its pack is no longer on this site"):
        enter(challenge, alice)
    assert not Submission.objects.exists()
    shutil.move(root.parent / "kept", root / "autumn")
    publish(root)
    enter(Challenge.objects.get(slug="autumn"), alice)


def test_packs_of_another_root_are_not_gone(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    publish(root)
    other = tmp_path_factory.mktemp("other")
    write(other / "winter")
    assert publish(other) == (["winter: new"], [])
    assert not Challenge.objects.exclude(gone=None).exists()


def test_a_challenge_that_this_version_cannot_read_is_hidden_until_its_pack_is_mended(root: Path, client: Client) -> None:
    publish(root)
    challenge = Challenge.objects.get(slug="autumn")
    challenge.manifest["threat"]["epsilon"] = 3
    challenge.save()
    write(root / "autumn", GOOD.replace("0.3", "3"))
    _, [warned] = publish(root)
    assert warned.endswith('"MNIST, Linf" is hidden: this version cannot read what was published before.')
    assert client.get("/").status_code == 200
    write(root / "autumn")
    publish(root)
    assert Challenge.objects.get(slug="autumn").published


def test_what_an_organiser_hid_stays_hidden_when_its_wrong_pack_is_mended(root: Path) -> None:
    publish(root)
    challenge = Challenge.objects.get(slug="autumn")
    challenge.manifest["threat"]["epsilon"] = 3
    challenge.published = False
    challenge.save()
    write(root / "autumn", GOOD.replace("0.3", "3"))
    publish(root)
    write(root / "autumn")
    publish(root)
    assert not Challenge.objects.get(slug="autumn").published


def test_a_challenge_that_this_version_cannot_read_is_hidden_where_its_folder_is_gone(root: Path, client: Client) -> None:
    publish(root)
    challenge = Challenge.objects.get(slug="autumn")
    challenge.manifest["threat"]["epsilon"] = 3
    challenge.save()
    shutil.rmtree(root / "autumn")
    line = (
        'autumn: "MNIST, Linf" is hidden: this version cannot read what was published before. Publish its pack again, mended.'
    )
    assert publish(root)[1] == [line]
    call_command("seed_baselines")
    assert client.get("/").status_code == 200
    assert publish(root)[1] == []
    assert PackProblem.objects.get().what == line
    write(root / "autumn")
    publish(root)
    assert Challenge.objects.get(slug="autumn").published
