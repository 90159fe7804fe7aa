"""What an entry's page and a cell's page say of the matrix: attacks, budgets, classes, pictures, and how to cite it."""

from __future__ import annotations

import io
from html import unescape

import numpy as np
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from PIL import Image

from arena.evaluations.models import Evaluation
from arena.matrix.defense_queries import played_against, upper_bound
from arena.matrix.models import Cell
from arena.submissions.models import Submission
from arena.web.citing import bibtex
from arena.web.images import images_of
from arena.web.row_of_matrix import class_rows
from tests.e2e.season_matrix import make_matrix

pytestmark = pytest.mark.django_db


@pytest.fixture
def season() -> dict[str, str]:
    return make_matrix()


def attacked(season: dict[str, str]) -> Evaluation:
    return Evaluation.objects.get(submission__public_id=season["attacked"], current=True)


def page(address: str) -> str:
    answer = Client().get(address)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def test_entry_lists_the_attacks_that_played_it_and_what_only_they_broke(season: dict[str, str]) -> None:
    text = page(f"/entries/{season['attacked']}/").partition("<h2>Submitted attacks</h2>")[2]
    assert 0 < text.index("Multi-targeted PGD, 20 restarts") < text.index("Guided local search")
    played = {each.cell.attack.name: each for each in played_against(attacked(season))}
    assert played["Guided local search"].left == 0.926
    assert played["Guided local search"].alone == 0, "a later attack broke the same examples and more"
    assert played["Multi-targeted PGD, 20 restarts"].alone > 0


def test_accuracy_against_budget_is_a_falling_bound_that_ends_at_the_official_figure(season: dict[str, str]) -> None:
    evaluation = attacked(season)
    points = upper_bound(evaluation)
    shares = [share for _, share in points]
    assert points[0] == (0.0, evaluation.clean_accuracy)
    assert points[-1] == (0.1, evaluation.robust_accuracy)
    assert shares == sorted(shares, reverse=True)
    assert shares[12] < shares[0], "breaks at smaller distances count at smaller budgets"
    assert "What only the ensemble broke counts at ε" in page(f"/entries/{season['attacked']}/")


def test_classes_add_up_to_the_whole(season: dict[str, str]) -> None:
    evaluation = attacked(season)
    rows = class_rows(evaluation)
    assert [row.name for row in rows] == [str(digit) for digit in range(10)]
    assert sum(row.images for row in rows) == 1000
    assert sum(row.images * row.bracket.empirical for row in rows) == pytest.approx(1000 * (evaluation.robust_accuracy or 0))


def test_pictures_show_the_image_what_broke_it_and_the_difference(season: dict[str, str]) -> None:
    cell = Cell.objects.get(public_id=season["cell"])
    text = page(f"/cells/{cell.public_id}/")
    example = int(text.split(f"/cells/{cell.public_id}/")[1].split("/")[0])
    files = {kind: Client().get(f"/cells/{cell.public_id}/{example}/{kind}.png") for kind in ("original", "adversarial")}
    data = images_of(cell.challenge.spec.data)
    assert data is not None
    shown = {kind: np.asarray(Image.open(io.BytesIO(answer.content))) for kind, answer in files.items()}
    assert np.array_equal(shown["original"], data.images[example][0])
    move = shown["adversarial"].astype(int) - shown["original"]
    assert 0 < np.abs(move).max() <= 26, "a tenth of the range"
    label = data.labels[example]
    assert f"<strong>{label} → {(example + 1) % 10}</strong>" in text
    assert Client().get(f"/cells/{cell.public_id}/{example}/difference.png")["Content-Type"] == "image/png"
    assert Client().get(f"/cells/{cell.public_id}/{example}/other.png").status_code == 404
    assert Client().get(f"/cells/{cell.public_id}/999999/original.png").status_code == 404


def test_entry_page_asks_the_same_number_of_queries_however_many_attacks_played(season: dict[str, str]) -> None:
    def asked(entry: str) -> int:
        page(f"/entries/{entry}/")
        with CaptureQueriesContext(connection) as queries:
            page(f"/entries/{entry}/")
        return len(queries)

    many = asked(season["attacked"])
    Cell.objects.filter(defense__public_id=season["attacked"]).exclude(attack__name="Guided local search").delete()
    assert many == asked(season["attacked"])


def test_entry_is_cited_without_breaking_tex(season: dict[str, str]) -> None:
    Submission.objects.filter(public_id=season["attacked"]).update(name="50 % {safe} \\input{x} & more_")
    evaluation = Evaluation.objects.select_related("submission__team", "submission__challenge").get(pk=attacked(season).pk)
    text = bibtex(evaluation, "https://redoubt.example")
    assert r"50 \% \{safe\} \textbackslash{}input\{x\} \& more\_" in text
    assert f"https://redoubt.example/entries/{season['attacked']}/" in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert text in page(f"/entries/{season['attacked']}/").replace("http://testserver", "https://redoubt.example")
