"""An entry's page: what everybody sees, what only its team sees, and what only its team may do."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from arena.accounts.models import User
from arena.web.wording import ADVICE
from evaluator.records.report import Report, SubmissionReason
from tests.e2e.season import Made, make_season, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def season() -> dict[str, Made]:
    return make_season()


def _page(client: Client, made: Made, name: str | None = None) -> str:
    if name:
        client.force_login(User.objects.get(username=name))
    return client.get(f"/entries/{made.submission.public_id}/").content.decode()


def test_completed_entry_shows_figures_attacks_and_rank(client: Client, season: dict[str, Made]) -> None:
    text = _page(client, season["ibp"])
    for shown in ("89.0 %", "86.9–90.9", "86.4 %", "97.1 %", "rank 3 of 4", "verified", "PGD-20, cross-entropy", "92.0 %"):
        assert shown in text
    assert season["ibp"].submission.digest in text


def test_unverified_entry_shows_the_evidence_and_no_rank(client: Client, season: dict[str, Made]) -> None:
    text = _page(client, season["thermometer"])
    assert "Measured, and not ranked" in text
    assert "Gradients are zero on 97 % of the images" in text
    assert "rank " not in text.split("<main", 1)[1].split("</h1>", 1)[1].split("</div>\n  </div>", 1)[0]


def test_running_entry_shows_progress_and_queued_one_its_place(client: Client, season: dict[str, Made]) -> None:
    running = _page(client, season["running"])
    assert 'role="progressbar"' in running
    assert "about 41 s left" in running
    assert "queued, next in line" in _page(client, season["queued"])
    assert "queued, number 2 in line" in _page(client, season["waiting"])


def test_team_reads_the_reason_its_log_escaped_and_what_to_do(client: Client, season: dict[str, Made]) -> None:
    text = _page(client, season["failed"], "alice")
    assert "logits of batch 3 hold 12 NaN values." in text
    assert ADVICE[SubmissionReason.NOT_FINITE] in text
    assert "&lt;script&gt;alert(&#x27;logs are text&#x27;)&lt;/script&gt;" in text
    assert "<script>alert" not in text


@pytest.mark.parametrize("name", ["bob", None])
def test_strangers_read_the_state_and_neither_log_nor_detail(client: Client, season: dict[str, Made], name: str | None) -> None:
    text = _page(client, season["failed"], name)
    assert "The evaluation stopped: not-finite" in text
    assert "12 NaN values" not in text
    assert "warming up" not in text
    assert "What your code printed" not in text


def test_team_cancels_its_waiting_evaluation(client: Client, season: dict[str, Made]) -> None:
    waiting = season["waiting"]
    assert "Cancel the evaluation" in _page(client, waiting, "alice")
    answer = client.post(f"/entries/{waiting.submission.public_id}/cancel/", follow=True)
    assert b"The evaluation was cancelled." in answer.content
    waiting.evaluation.refresh_from_db()
    assert waiting.evaluation.state == "cancelled"


def test_cancelling_what_is_finished_is_answered_with_a_sentence(client: Client, season: dict[str, Made]) -> None:
    client.force_login(User.objects.get(username="alice"))
    answer = client.post(f"/entries/{season['pgd'].submission.public_id}/cancel/", follow=True)
    assert b"This evaluation is finished already." in answer.content


def test_charlie_cannot_cancel_an_entry_of_alice(client: Client, season: dict[str, Made]) -> None:
    waiting = season["waiting"]
    assert "Cancel the evaluation" not in _page(client, waiting)
    client.force_login(make_user("charlie"))
    assert client.post(f"/entries/{waiting.submission.public_id}/cancel/").status_code == 404
    waiting.evaluation.refresh_from_db()
    assert waiting.evaluation.state == "queued"


def test_cancelling_needs_a_post(client: Client, season: dict[str, Made]) -> None:
    client.force_login(User.objects.get(username="alice"))
    assert client.get(f"/entries/{season['waiting'].submission.public_id}/cancel/").status_code == 405


def test_receipt_is_the_whole_report_as_a_file(client: Client, season: dict[str, Made]) -> None:
    answer = client.get(f"/entries/{season['ibp'].submission.public_id}/receipt.json")
    assert answer["Content-Disposition"].startswith("attachment")
    assert Report.model_validate(json.loads(answer.content)).robust_accuracy == 0.89
    assert client.get(f"/entries/{season['failed'].submission.public_id}/receipt.json").status_code == 404


def test_every_reason_of_failure_has_advice() -> None:
    assert set(ADVICE) == set(SubmissionReason)


def test_partial_of_an_entry_is_its_part_alone(client: Client, season: dict[str, Made]) -> None:
    answer = client.get(f"/entries/{season['ibp'].submission.public_id}/", headers={"HX-Request": "true"})
    assert answer.content.strip().startswith(b'<div id="entry"')
    assert b"<html" not in answer.content
