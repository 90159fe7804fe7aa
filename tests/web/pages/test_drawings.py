"""The drawings: one function, the right places, words for those who do not see them; and figures put into words."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

import arena.web
from arena.web import svg, wording
from arena.web.svg import Step, falls
from arena.web.svg.marks import percent
from evaluator.manifests.threat_specs import ThreatSpec

shares = st.floats(0, 1)


def _marks(drawing: str) -> dict[str, dict[str, str]]:
    """Class -> attributes of the first mark of that class."""
    found: dict[str, dict[str, str]] = {}
    for node in ElementTree.fromstring(drawing).iter():
        found.setdefault(node.attrib.get("class", node.tag), dict(node.attrib))
    return found


def test_bracket_puts_every_figure_in_its_place() -> None:
    marks = _marks(svg.bracket(svg.Bracket(0.926, (0.908, 0.941), 0.995, certified=0.76)))
    assert marks["proof"]["width"] == "76.00%"
    assert marks["gap"]["width"] == "92.60%"
    assert marks["edge"]["x1"] == marks["edge"]["x2"] == "92.60%"
    assert (marks["ci"]["x1"], marks["ci"]["x2"]) == ("90.80%", "94.10%")
    assert marks["clean"]["x1"] == "99.50%"


def test_bracket_without_a_certificate_draws_no_proof_and_says_so() -> None:
    marks = _marks(svg.bracket(svg.Bracket(0.5, (0.4, 0.6), 0.9)))
    assert "proof" not in marks
    assert marks["bracket"]["aria-label"] == ("no certificate, empirical 50.0 %, 95 % interval 40.0 to 60.0 %, clean 90.0 %")


@given(empirical=shares, low=shares, high=shares, clean=shares, certified=st.none() | shares, scale=st.booleans())
def test_bracket_is_always_well_formed_without_style_and_inside_its_scale(
    empirical: float, low: float, high: float, clean: float, certified: float | None, scale: bool
) -> None:
    drawing = svg.bracket(svg.Bracket(empirical, (low, high), clean, certified), scale=scale)
    for node in ElementTree.fromstring(drawing).iter():
        assert "style" not in node.attrib
        places = [value for value in node.attrib.values() if value.endswith("%") and " " not in value]
        assert all(0 <= float(place[:-1]) <= 100 for place in places)


@given(total=st.integers(0, 10_000), data=st.data())
def test_progress_draws_standing_before_in_play_before_fallen(total: int, data: st.DataObject) -> None:
    survivors = data.draw(st.integers(0, total))
    done = data.draw(st.integers(0, total))
    marks = _marks(svg.progress(done=done, total=total, survivors=survivors))
    held, play = float(marks["gap"]["width"][:-1]), float(marks["play"]["width"][:-1])
    assert held <= play + 0.01
    assert marks["edge"]["x1"] == marks["play"]["width"] == marks["broken"]["x1"]


def test_progress_says_what_it_draws() -> None:
    said = ElementTree.fromstring(svg.progress(done=620, total=1000, survivors=812)).attrib
    assert said["role"] == "progressbar"
    assert (said["aria-valuenow"], said["aria-valuemax"]) == ("620", "1000")
    assert said["aria-valuetext"] == "620 of 1000 examples settled, 812 still standing"


def test_standing_falls_in_steps_and_needs_two_figures() -> None:
    line = _marks(svg.standing([1.0, 0.5, 0.5]))["line"]["d"]
    assert line == "M3.0 3.0H56.0V12.0H109.0V12.0"
    assert svg.standing([0.5]) == ""


def test_names_in_a_badge_are_escaped() -> None:
    drawing = svg.badge(svg.Bracket(0.5, (0.4, 0.6), 0.9), challenge='<script>"&')
    assert '<script>"&' in "".join(ElementTree.fromstring(drawing).itertext())


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0, "0.0"), (0.0004, "< 0.1"), (0.0005, "0.1"), (0.926, "92.6"), (0.9994, "99.9"), (0.9996, "> 99.9"), (1.0, "100.0")],
)
def test_percent_never_claims_all_or_nothing_by_rounding(share: float, words: str) -> None:
    assert percent(share) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0.4 s"), (9.97, "10 s"), (41, "41 s"), (60, "1 min"), (192.4, "3 min 12 s"), (7500, "2 h 5 min")],
)
def test_durations_have_two_units_at_most(seconds: float, words: str) -> None:
    assert wording.duration(seconds) == words


@pytest.mark.parametrize(("count", "words"), [(812, "812"), (38_412, "38.4 k"), (1_930_000, "1.93 M"), (2_000_000_000, "2 G")])
def test_rows_have_three_figures(count: int, words: str) -> None:
    assert wording.rows(count) == words


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"kind": "linf", "epsilon": 8 / 255}, "L∞ ≤ 0.0313725"),
        ({"kind": "l0", "epsilon": 12}, "L0 ≤ 12 pixels"),
        ({"kind": "union", "members": [{"kind": "l1", "epsilon": 5}, {"kind": "l2", "epsilon": 1}]}, "L1 ≤ 5 or L2 ≤ 1"),
        (
            {"kind": "rotation-translation", "degrees": 30, "pixels": 3},
            "rotation ≤ 30°, translation ≤ 3 pixels",
        ),
        (
            {"kind": "sum", "parts": [{"kind": "spatial", "epsilon": 1}, {"kind": "color", "epsilon": 0.1}]},
            "flow ≤ 1 pixels and color map ≤ 0.1",
        ),
        ({"kind": "physical", "base": {"kind": "patch", "side": 7}}, "patch of 7 × 7 pixels, over random views"),
    ],
)
def test_every_kind_of_threat_is_put_into_words(table: dict[str, object], words: str) -> None:
    assert TypeAdapter(ThreatSpec).validate_python(table).words == words


def test_third_party_files_are_those_that_the_licence_notes_name() -> None:
    folder = Path(arena.web.__file__).parent / "static" / "web" / "vendor"
    rows = re.findall(r"^\| `([^`]+)` .*`([0-9a-f]{64})` \|$", (folder / "README.md").read_text(), re.MULTILINE)
    assert {Path(name).name for name, _ in rows} >= {file.name for file in folder.glob("*.js")}
    for name, digest in rows:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name


def _season(*shares: float) -> list[Step]:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    return [Step(start + timedelta(days=7 * place), share, f"<attack {place}>") for place, share in enumerate(shares)]


def test_falls_are_drawn_over_time_and_named_by_the_attack() -> None:
    drawing = ElementTree.fromstring(falls(_season(0.9, 0.8, 0.75)))
    words = "".join(drawing.itertext())
    assert "<attack 1>" in words
    assert "2026-03-01" in words
    assert "2026-03-15" in words
    assert "from 90.0 % to 75.0 % in 2 steps" in drawing.attrib["aria-label"]
    (line,) = (node for node in drawing.iter() if node.attrib.get("class") == "main")
    places = [float(number) for number in re.findall(r"V([\d.]+)", line.attrib["d"])]
    assert places == sorted(places), "down the page is down in accuracy"


def test_many_falls_name_only_the_deepest_and_one_event_is_no_line() -> None:
    drawing = ElementTree.fromstring(falls(_season(0.9, 0.89, 0.7, 0.69, 0.6, 0.5, 0.4, 0.3)))
    named = [node.text for node in drawing.iter() if node.tag.endswith("text") and "attack" in (node.text or "")]
    assert named == ["<attack 2>", "<attack 4>", "<attack 5>", "<attack 6>", "<attack 7>"]
    assert falls(_season(0.9)) == ""
