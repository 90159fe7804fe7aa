"""The entry page's list of honesty checks: verdict, evidence, meaning, and each curve as a picture with its figures."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from arena.accounts.services import make_team
from arena.running.merging import merge
from arena.web import svg
from evaluator.records.report import CheckRecord, Completed, Curve, Report
from tests.e2e.season import Made, complete, make_challenge, make_entry, make_user

EPSILON = Curve(name="climb of 7 steps", x="epsilon", y="accuracy", points=[(0.0, 1.0), (0.15, 0.75), (0.3, 0.25)])
ALONG = Curve(name="along the gradient", x="distance", y="margin", points=[(0.0, -4.0), (0.3, 2.0)])
CHANCE = Curve(name="along a random direction", x="distance", y="margin", points=[(0.0, -4.0), (0.3, -3.5)])


def _record(check: str, **fields: Any) -> CheckRecord:
    given: dict[str, Any] = {"title": check.title(), "meaning": "It matters.", "fired": False, "severity": "unverified"}
    given["remedy"] = f"Declare {check}."
    return CheckRecord(check=check, evidence=f"measured {check}.", **given | fields)


@pytest.fixture
def entry(db: None) -> Made:
    made = make_entry(make_challenge(), make_team(user=make_user("alice"), name="Alpine"), "Masked")
    flags = [
        {"check": "zero", "severity": "unverified", "evidence": "measured zero."},
        {"check": "canary", "severity": "unverified", "evidence": "Square broke <3> images."},
        {"check": "random", "severity": "info", "evidence": "measured random."},
    ]
    complete(made, clean=0.9, left=(0.8, 0.8, 0.8, 0.8), flags=flags)
    records = [
        _record("quiet", curves=[EPSILON]),
        _record("random", fired=True),
        _record("zero", fired=True, curves=[ALONG, CHANCE]),
    ]
    report = Report.model_validate(made.evaluation.report).model_copy(update={"checks": records})
    made.evaluation.report = report.model_dump(mode="json")
    made.evaluation.save()
    return made


def _list(client: Client, made: Made) -> ElementTree.Element:
    text = client.get(f"/entries/{made.submission.public_id}/").content.decode()
    start = text.index('<ul class="checks">')
    part = text[start : text.index("</ul>", start) + len("</ul>")]
    return ElementTree.fromstring(part.replace("<br>", "<br/>"))


def test_the_gravest_checks_come_first_and_each_has_its_verdict_evidence_and_meaning(client: Client, entry: Made) -> None:
    items = ["".join(item.itertext()) for item in _list(client, entry)]
    assert len(items) == 4
    for item, (name, verdict) in zip(
        items,
        [("Zero", "cannot be vouched for"), ("canary", "cannot"), ("Random", "noted"), ("Quiet", "nothing found")],
        strict=True,
    ):
        assert name in item
        assert verdict in item
    assert "measured zero. It matters." in " ".join(items[0].split())
    assert "Square broke <3> images." in items[1]


def test_what_stands_in_the_way_of_a_rank_says_what_to_declare_and_nothing_else_does(client: Client, entry: Made) -> None:
    items = [" ".join("".join(item.itertext()).split()) for item in _list(client, entry)]
    assert "What to do: Declare zero." in items[0]
    assert not any("What to do" in item for item in items[1:])


def test_curves_with_the_same_axes_share_a_picture_and_a_table_with_every_figure(client: Client, entry: Made) -> None:
    zero, _, random, quiet = _list(client, entry)
    assert len(list(zero.iter("svg"))) == 1
    assert len(list(zero.iter("path"))) == 2
    assert not list(random.iter("svg"))
    rows = [["".join(cell.itertext()) for cell in row] for row in quiet.iter("tr")]
    assert rows == [["epsilon", "climb of 7 steps, accuracy"], ["0", "1"], ["0.15", "0.75"], ["0.3", "0.25"]]
    heads = [cell.text for cell in zero.iter("th") if cell.get("scope") == "col"]
    assert heads == ["distance", "along the gradient, margin", "along a random direction, margin"]


def test_a_report_from_before_the_curves_shows_its_flags(client: Client, entry: Made) -> None:
    report = dict(entry.evaluation.report or {})
    del report["checks"]
    entry.evaluation.report = report
    entry.evaluation.save()
    assert len(_list(client, entry)) == 3


def test_the_picture_says_in_words_where_each_curve_begins_and_ends() -> None:
    picture = ElementTree.fromstring(svg.curves([ALONG, CHANCE]))
    assert picture.get("role") == "img"
    label = picture.get("aria-label")
    assert label == (
        "margin against distance. along the gradient: margin from -4 to 2; "
        "along a random direction: margin from -4 to -3.5. Table below."
    )


def test_accuracies_are_drawn_on_the_scale_from_0_to_1() -> None:
    (path,) = ElementTree.fromstring(svg.curves([EPSILON])).iter("path")
    heights = [float(point.split()[1]) for point in path.attrib["d"].removeprefix("M").split("L")]
    assert heights[0] - 12 == pytest.approx(0)
    assert (heights[1] - heights[0]) / (heights[2] - heights[0]) == pytest.approx(1 / 3, abs=0.01)


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=2, max_size=64))
def test_every_curve_stays_inside_its_picture(points: list[tuple[float, float]]) -> None:
    curve = Curve(name="any", x="x", y="y", points=sorted(points))
    for path in ElementTree.fromstring(svg.curves([curve])).iter("path"):
        for point in path.attrib["d"].removeprefix("M").split("L"):
            x, y = map(float, point.split())
            assert 0 <= x <= 320
            assert 0 <= y <= 150


def test_nothing_is_drawn_of_a_single_point() -> None:
    assert svg.curves([Curve(name="one", x="x", y="y", points=[(0.0, 0.0)])]) == ""


@pytest.mark.parametrize("points", [[(0.0, float("nan"))], [(float("inf"), 0.0)], [(0.0, 0.0)] * 65])
def test_a_report_holds_no_curve_that_is_not_finite_or_too_long(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValidationError):
        Curve(name="any", x="x", y="y", points=points)


def test_of_two_shards_the_graver_record_of_a_check_is_kept(entry: Made) -> None:
    one = Report.model_validate(entry.evaluation.report)
    other = one.model_copy(update={"checks": [_record("quiet", fired=True, severity="info"), _record("zero")]})
    merged = merge([Completed(one), Completed(other)])
    assert isinstance(merged, Completed)
    kept = {record.check: (record.fired, record.severity) for record in merged.report.checks}
    assert kept == {"quiet": (True, "info"), "random": (True, "unverified"), "zero": (True, "unverified")}
