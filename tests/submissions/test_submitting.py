"""Entering, withdrawing and queueing: the services behind every front door."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.management import call_command

from arena.challenges.models import Challenge
from arena.challenges.services import Publication, publish
from arena.evaluations.models import Evaluation
from arena.identifiers import new_public_id
from arena.jobs.queries import live
from arena.submissions.models import Submission
from arena.submissions.services import submit, withdraw
from evaluator.errors import InputError
from tests.web.backend_support import current, enter, person, small_challenge, small_pack, team_of, zipped

pytestmark = pytest.mark.django_db
ATTACK = {"attack.toml": 'name = "Momentum"\nformat = "python"\nentry = "attack.py"\n', "attack.py": ""}


@pytest.fixture
def challenge() -> Challenge:
    return small_challenge()


def upload(files: dict[str, bytes | str]) -> ContentFile[bytes]:
    return ContentFile(zipped(files), name="my weights.zip")


def test_a_submission_is_stored_under_its_public_id_and_queued(challenge: Challenge) -> None:
    submission = enter(challenge, person())
    assert submission.archive.name == f"submissions/{submission.public_id}.zip"
    assert submission.manifest["architecture"] == "mnist-cnn"
    assert current(submission).state == Evaluation.State.QUEUED
    assert live(current(submission)).queue_position == 1


def test_public_ids_sort_by_time() -> None:
    ids = [new_public_id() for _ in range(3)]
    assert {len(public_id) for public_id in ids} == {26}
    assert sorted(public_id[:10] for public_id in ids) == [public_id[:10] for public_id in ids]
    assert len(set(ids)) == 3


def test_a_refused_archive_leaves_nothing_behind(challenge: Challenge) -> None:
    alice = person()
    with pytest.raises(InputError):
        submit(user=alice, team=team_of(alice), challenge=challenge, archive=ContentFile(b"no", name="x.zip"))
    assert not Submission.objects.exists()


def test_an_attack_is_shown_that_there_is_nothing_to_attack_yet(challenge: Challenge) -> None:
    alice = person()
    with pytest.raises(InputError, match="No defense stands"):
        submit(user=alice, team=team_of(alice), challenge=challenge, archive=upload({**ATTACK}))


def test_withdrawing_stops_the_evaluation_and_can_be_done_once(challenge: Challenge) -> None:
    submission = enter(challenge, person())
    withdraw(submission=submission)
    assert current(submission).state == Evaluation.State.CANCELLED
    with pytest.raises(InputError):
        withdraw(submission=submission)


def test_an_evaluation_keeps_the_pack_it_was_queued_with(challenge: Challenge) -> None:
    evaluation = current(enter(challenge, person()))
    publish(pack=small_pack(epsilon=0.1))
    assert evaluation.judged_pack == small_pack()


# Publishing


def write_pack(root: Path, *, epsilon: float = 0.3, title: str = "MNIST, Linf") -> None:
    folder = root / "mnist-linf"
    folder.mkdir(exist_ok=True)
    (folder / "README.md").write_text("# Rules\n")
    (folder / "challenge.toml").write_text(
        f'title = "{title}"\n[data]\ndataset = "mnist"\nexamples = 20\n[threat]\nkind = "linf"\nepsilon = {epsilon}\n'
    )


def publish_packs(root: Path, *flags: str) -> str:
    output = io.StringIO()
    call_command("publish_packs", "--root", str(root), *flags, stdout=output)
    return output.getvalue()


def test_publishing_twice_changes_nothing_and_says_so(tmp_path: Path) -> None:
    write_pack(tmp_path)
    assert publish_packs(tmp_path) == "mnist-linf: new\n"
    before = Challenge.objects.values().get()
    assert publish_packs(tmp_path) == "mnist-linf: unchanged\n"
    assert Challenge.objects.values().get() == before
    assert before["readme"] == "# Rules\n"


def test_a_new_title_keeps_the_results_and_new_rules_do_not(tmp_path: Path) -> None:
    write_pack(tmp_path)
    publish_packs(tmp_path)
    submission = enter(Challenge.objects.get(), person())
    Evaluation.objects.update(state=Evaluation.State.COMPLETED)
    write_pack(tmp_path, title="MNIST, once more")
    assert publish_packs(tmp_path) == "mnist-linf: updated\n"
    write_pack(tmp_path, epsilon=0.2)
    assert "1 entries measured under earlier rules, off the ranking" in publish_packs(tmp_path)
    assert "queued again" in publish_packs(tmp_path, "--reevaluate")
    assert current(submission).judged_pack.challenge.threat.epsilon == 0.2


def test_publishing_through_the_service_tells_what_changed() -> None:
    assert publish(pack=small_pack()).publication is Publication.NEW
    assert publish(pack=small_pack()).publication is Publication.UNCHANGED
    assert publish(pack=small_pack(epsilon=0.1)).publication is Publication.RULES_CHANGED
