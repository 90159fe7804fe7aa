"""The board and the bits behind it as files."""

from __future__ import annotations

import io
import json

import pytest
from django.test import Client
from pyarrow import parquet

from arena.challenges.models import Challenge
from arena.evaluations.models import Evaluation
from tests.e2e.season import complete, make_challenge, make_entry, make_season, make_user
from tests.e2e.season_matrix import make_matrix

pytestmark = pytest.mark.django_db
NAMES = ["Wide CNN, TRADES", "PGD-40 CNN", "IBP small", "Standard CNN", "Thermometer-16"]


def test_board_is_taken_away_as_json_with_the_rules_it_was_judged_under(client: Client) -> None:
    make_season()
    told = json.loads(client.get("/challenges/mnist-linf/board.json").content)
    assert told["rules_digest"] == Challenge.objects.get(slug="mnist-linf").rules_digest
    assert [entry["name"] for entry in told["entries"]] == NAMES
    assert [entry["rank"] for entry in told["entries"]] == [1, 2, 3, 4, None]
    assert told["entries"][0]["robust_accuracy"] == 0.926


def test_board_is_taken_away_as_parquet_with_types_and_follows_the_filter(client: Client) -> None:
    make_season()
    answer = client.get("/challenges/mnist-linf/board.parquet")
    table = parquet.read_table(io.BytesIO(answer.content))
    assert table["name"].to_pylist() == NAMES
    assert table["certified_accuracy"].to_pylist() == [None, None, 0.864, None, None]
    assert (str(table.schema.field("rank").type), str(table.schema.field("certificate").type)) == ("int64", "string")
    few = parquet.read_table(io.BytesIO(client.get("/challenges/mnist-linf/board.parquet", {"q": "ibp"}).content))
    assert few["name"].to_pylist() == ["IBP small"]
    assert few.schema == table.schema


def test_empty_board_is_an_empty_file(client: Client) -> None:
    make_season()
    for name in ("board.parquet", "bits.parquet"):
        assert parquet.read_table(io.BytesIO(client.get(f"/challenges/mnist-l2/{name}").content)).num_rows == 0


def test_names_in_json_are_as_they_are(client: Client) -> None:
    complete(make_entry(make_challenge(examples=20), make_user().teams.get(), "=1+1"), clean=1, left=(0.5,) * 4)
    assert json.loads(client.get("/challenges/mnist-linf/board.json").content)["entries"][0]["name"] == "=1+1"


def test_bits_agree_with_the_board_after_every_fall(client: Client) -> None:
    entry = make_matrix()["attacked"]
    rows = parquet.read_table(io.BytesIO(client.get("/challenges/mnist-linf-01/bits.parquet").content)).to_pylist()
    mine = [row for row in rows if row["entry"] == entry]
    evaluation = Evaluation.objects.get(submission__public_id=entry, current=True)
    assert [row["example"] for row in mine] == list(range(1000))
    assert sum(row["robust"] for row in mine) / 1000 == evaluation.robust_accuracy
    assert sum(row["correct"] for row in mine) / 1000 == evaluation.clean_accuracy
    assert len({row["entry"] for row in rows}) == 6
