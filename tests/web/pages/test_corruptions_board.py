"""A board of common corruptions: ranked by mCE or by the worst case, with the table on the entry's page, API and files."""

from __future__ import annotations

import csv
import io

import pytest
from django.test import Client

from arena.evaluations.models import Evaluation
from arena.leaderboards.overviews import overviews
from arena.leaderboards.queries import board
from arena.leaderboards.significance import significance
from evaluator.records.corruption_record import corruption_record
from evaluator.records.report import StandardErrors
from tests.e2e.season import Made, complete, make_challenge, make_entry, make_user

pytestmark = pytest.mark.django_db
SLUG = "mnist-corruptions"


def make_board(by: str) -> dict[str, Made]:
    """Two entries: one better in the worst case, the other on the whole."""
    threat = {"kind": "corruptions", "severity": [1, 5], "kinds": ["fog", "snow"]}
    challenge = make_challenge(SLUG, examples=100, threat=threat, ranking={"by": by})
    team, made = make_user("ada").teams.get(), {}
    for name, left, errors in (("Worst", 0.6, [[9, 9, 9, 9, 9]] * 2), ("Mean", 0.5, [[1, 2, 3, 4, 5], [0, 0, 0, 0, 20]])):
        made[name] = complete(make_entry(challenge, team, name), clean=0.98, left=(0.9, 0.8, 0.7, left))
        standard = StandardErrors(network="mnist-standard", clean_errors=1, errors=[[5, 5, 5, 5, 5], [0] * 5])
        record = corruption_record(
            ["fog", "snow"], [1, 2, 3, 4, 5], examples=100, clean_errors=2, errors=errors, standard=standard
        )
        found = Evaluation.objects.get(pk=made[name].evaluation.pk)
        assert found.report is not None
        found.report["corruptions"] = found.corruptions = record.model_dump(mode="json")
        found.save()
    return made


@pytest.mark.parametrize(("by", "first"), [("mce", "Mean"), ("robust", "Worst")])
def test_it_ranks_by_what_the_manifest_says(by: str, first: str, client: Client) -> None:
    challenge = make_board(by)["Mean"].submission.challenge
    assert board(challenge).ranked[0].name == first
    (overview,) = overviews([challenge])
    assert overview.leader is not None
    assert overview.leader.name == first
    page = client.get(f"/challenges/{SLUG}/").content.decode()
    assert page.index(first) < page.index("Worst" if by == "mce" else "Mean")
    assert ">mCE</th>" in page
    if by == "mce":
        assert significance(challenge) == {}, "bits of the worst case say nothing about ranks by mCE"
        assert '<span class="big">60.0</span> %' in page, (
            "(1 + 2 + 3 + 4 + 5) / 25; of snow the standard network makes no error"
        )


def test_the_entrys_page_shows_the_table_beside_the_worst_case(client: Client) -> None:
    entry = make_board("robust")["Mean"].submission
    page = client.get(f"/entries/{entry.public_id}/").content.decode()
    assert "Common corruptions" in page
    assert "Mean corruption error (mCE) <strong>60.0 %</strong>, relative mCE <strong>25.0 %</strong>" in page
    assert "mnist-standard on the same images" in page
    snow = page[page.index('<th scope="row">snow') :].split("</tr>")[0]
    assert snow.count("<td") == 6
    assert ">20.0</span>" in snow
    assert '<td class="worst">–</td>' in snow


def test_an_entry_of_another_board_has_no_table(client: Client) -> None:
    team, challenge = make_user("ada").teams.get(), make_challenge(examples=100)
    entry = complete(make_entry(challenge, team, "Plain"), clean=0.98, left=(0.9, 0.8, 0.7, 0.6))
    assert "Common corruptions" not in client.get(f"/entries/{entry.submission.public_id}/").content.decode()


def test_api_and_files_hold_the_figures(client: Client) -> None:
    evaluation = make_board("mce")["Mean"].evaluation
    answer = client.get(f"/api/v1/evaluations/{evaluation.public_id}").json()["corruptions"]
    assert (answer["mce"], answer["errors"][1], answer["ratios"]) == (0.6, [0, 0, 0, 0, 20], [0.6, None])
    ranked = client.get(f"/api/v1/challenges/{SLUG}/board").json()["ranked"]
    assert [row["mce"] for row in ranked] == [0.6, 1.8]
    (first, _) = csv.DictReader(io.StringIO(client.get(f"/challenges/{SLUG}/board.csv").content.decode()))
    assert (first["name"], first["mce"], first["relative_mce"]) == ("Mean", "0.6", "0.25")
