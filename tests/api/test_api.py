"""REST under /api/v1: what it answers, to whom, and how it says no."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.response import Response
from rest_framework.test import APIClient

from arena.accounts.models import User
from arena.accounts.services import make_team, make_token
from arena.challenges.models import Challenge
from arena.evaluations.models import Evaluation
from evaluator.records.receipt import verify
from evaluator.records.report import Report, SubmissionFailed
from tests.web.backend_support import FakeJudge, current, enter, good_files, person, small_challenge, work_once, zipped

pytestmark = pytest.mark.django_db
API = "/api/v1"


@pytest.fixture(autouse=True)
def _fresh_counters() -> None:
    cache.clear()


@pytest.fixture
def challenge() -> Challenge:
    return small_challenge()


@pytest.fixture
def alice() -> User:
    return person("alice")


def client(user: User | None = None) -> APIClient:
    made = APIClient()
    if user is not None:
        made.credentials(HTTP_AUTHORIZATION=f"Bearer {make_token(user=user, name='test').secret}")
    return made


def upload(client: APIClient, challenge: str = "mnist-linf", data: bytes | None = None, **fields: str) -> Response:
    archive = SimpleUploadedFile("defense.zip", zipped(good_files()) if data is None else data)
    return client.post(f"{API}/submissions", {"challenge": challenge, "archive": archive, **fields})


def finish(judge: FakeJudge) -> None:
    while work_once(judge=judge):
        pass


def test_challenges_are_listed_with_their_rules(challenge: Challenge) -> None:
    [listed] = client().get(f"{API}/challenges").json()
    assert (listed["slug"], listed["manifest"]["threat"]) == ("mnist-linf", {"kind": "linf", "epsilon": 0.3})
    assert client().get(f"{API}/challenges/mnist-linf").json()["readme"] == ""


def test_an_unpublished_challenge_does_not_exist(challenge: Challenge) -> None:
    Challenge.objects.update(published=False)
    assert client().get(f"{API}/challenges").json() == []
    for path in ("", "/board"):
        assert client().get(f"{API}/challenges/mnist-linf{path}").status_code == 404


def test_a_token_tells_whose_it_is(alice: User) -> None:
    answer = client(alice).get(f"{API}/me").json()
    assert answer == {"username": "alice", "teams": [{"slug": "alice", "name": "alice", "personal": True}]}


def test_a_defense_goes_in_and_is_followed(challenge: Challenge, alice: User) -> None:
    answer = upload(client(alice))
    assert answer.status_code == 201
    entry = answer.json()
    assert entry["submission"]["name"] == "Small CNN"
    assert (entry["evaluation"]["state"], entry["evaluation"]["queue_position"]) == ("queued", 1)
    assert client().get(f"{API}/submissions/{entry['submission']['id']}").json() == entry
    assert client(alice).get(f"{API}/submissions").json()["results"] == [entry]


def test_the_list_holds_only_ones_own_teams_entries(challenge: Challenge, alice: User) -> None:
    enter(challenge, alice)
    assert client(person("bob")).get(f"{API}/submissions").json()["results"] == []


def test_listing_costs_the_same_number_of_queries_however_many_entries_there_are(challenge: Challenge, alice: User) -> None:
    known, counts = client(alice), []
    for rounds in (1, 4):
        for number in range(rounds):
            enter(challenge, alice, name=f"entry {rounds} {number}")
        known.get(f"{API}/submissions")
        with CaptureQueriesContext(connection) as captured:
            assert known.get(f"{API}/submissions").status_code == 200
        counts.append(len(captured))
    assert counts[0] == counts[1]


def test_a_team_of_several_may_be_named_and_a_strangers_may_not(challenge: Challenge, alice: User) -> None:
    make_team(user=alice, name="Alpine Robust")
    assert upload(client(alice), team="alpine-robust").json()["submission"]["team"] == "alpine-robust"
    assert upload(client(person("charlie")), team="alpine-robust").status_code == 404


@pytest.mark.parametrize("path", ["submissions", "me"])
def test_without_a_token_the_answer_is_401_with_help(path: str) -> None:
    answer = client().get(f"{API}/{path}")
    assert answer.status_code == 401
    assert "Bearer TOKEN" in answer.json()["help"]


def test_a_wrong_token_is_401_even_where_none_is_needed(challenge: Challenge) -> None:
    stranger = client()
    stranger.credentials(HTTP_AUTHORIZATION="Bearer redoubt_wrong")
    assert stranger.get(f"{API}/challenges").status_code == 401


def test_a_refused_archive_says_what_where_and_what_to_do(challenge: Challenge, alice: User) -> None:
    answer = upload(client(alice), data=b"hello")
    assert answer.status_code == 400
    assert answer.json() == {
        "what": "is neither a .zip nor a .tar.gz.",
        "where": "the archive",
        "help": "Pack the folder with your defense.toml as a .zip or a .tar.gz.",
    }


def test_every_error_has_the_same_three_keys(challenge: Challenge, alice: User) -> None:
    known = client(alice)
    answers = [
        (404, known.get(f"{API}/submissions/nothing")),
        (404, upload(known, challenge="nothing")),
        (400, known.post(f"{API}/submissions", {"challenge": "mnist-linf"})),
        (405, known.put(f"{API}/challenges")),
        (415, known.post(f"{API}/submissions", "{}", content_type="application/json")),
    ]
    for code, answer in answers:
        assert answer.status_code == code
        assert set(answer.json()) == {"what", "where", "help"}
    assert answers[2][1].json()["where"] == "archive"


@pytest.mark.django_db(transaction=True)
def test_a_completed_evaluation_offers_its_report_and_receipt_to_everyone(challenge: Challenge, alice: User) -> None:
    evaluation = current(enter(challenge, alice))
    path = f"{API}/evaluations/{evaluation.public_id}"
    assert client().get(f"{path}/report").status_code == 404
    assert client().get(path).json()["seed"] is None, "the seed is secret until the verdict"
    finish(FakeJudge())
    assert client().get(path).json()["seed"] == str(evaluation.seed)
    report = client().get(f"{path}/report").json()
    receipt = client().get(f"{path}/receipt")
    assert "attachment" in receipt["Content-Disposition"]
    verify(Report.model_validate_json(receipt.content))
    assert report == receipt.json()
    [row] = client().get(f"{API}/challenges/mnist-linf/board").json()["ranked"]
    assert (row["rank"], row["robust_accuracy"]) == (1, report["robust_accuracy"])


@pytest.mark.django_db(transaction=True)
def test_a_stranger_sees_neither_the_log_nor_why_it_failed(challenge: Challenge, alice: User) -> None:
    evaluation = current(enter(challenge, alice))
    finish(FakeJudge(plan=[None, SubmissionFailed("load", "secret path /home/alice")]))
    path = f"{API}/evaluations/{evaluation.public_id}"
    charlie, staff = client(person("charlie")), person("staff")
    User.objects.filter(pk=staff.pk).update(is_staff=True)
    for own in (client(alice), client(staff)):
        assert own.get(f"{path}/log").content == b"loaded for 0\n"
        assert own.get(path).json()["detail"] == "secret path /home/alice"
    for stranger in (client(), charlie):
        assert stranger.get(f"{path}/log").status_code == 404
        assert (stranger.get(path).json()["reason"], stranger.get(path).json()["detail"]) == ("load", "")


def test_only_its_own_team_cancels_and_withdraws(challenge: Challenge, alice: User) -> None:
    submission = enter(challenge, alice)
    cancel, withdraw = (
        f"{API}/evaluations/{current(submission).public_id}/cancel",
        f"{API}/submissions/{submission.public_id}/withdraw",
    )
    for path in (cancel, withdraw):
        assert client().post(path).status_code == 401
        assert client(person(f"stranger{len(path)}")).post(path).status_code == 404
    assert client(alice).post(cancel).json()["state"] == "cancelled"
    assert client(alice).post(cancel).status_code == 400
    assert client(alice).post(withdraw).json()["submission"]["withdrawn"] is not None


def test_uploads_have_a_rate_of_their_own(challenge: Challenge, alice: User, settings) -> None:  # type: ignore[no-untyped-def]
    settings.REDOUBT_RATES = {**settings.REDOUBT_RATES, "uploads of one person": (1, 3600)}
    known = client(alice)
    assert upload(known).status_code == 201
    answer = upload(known)
    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= 3600
    assert known.get(f"{API}/submissions").status_code == 200


def test_the_schema_describes_every_address_without_a_warning() -> None:
    output = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=output)
    text = client().get(f"{API}/schema").content.decode()
    for address in ("/challenges/{slug}/board", "/submissions", "/evaluations/{public_id}/receipt"):
        assert f"{API}{address}:" in text
    assert "multipart/form-data" in text
    assert "bearer" in text


def test_a_finished_evaluation_is_not_cancelled(challenge: Challenge, alice: User) -> None:
    evaluation = current(enter(challenge, alice))
    Evaluation.objects.update(state=Evaluation.State.COMPLETED)
    answer = client(alice).post(f"{API}/evaluations/{evaluation.public_id}/cancel")
    assert (answer.status_code, answer.json()["what"]) == (400, "This evaluation is finished already.")
