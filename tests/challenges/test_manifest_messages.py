"""What a wrong manifest is told names the line and the thing, once; what the field writes is read."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluator.errors import InputError
from evaluator.manifests.spec import AttackManifest, Challenge, DefenseManifest, parse_toml
from evaluator.manifests.threat_specs import LinfSpec
from evaluator.manifests.toml_lines import lines

ROOT = Path(__file__).resolve().parents[2]
HEAD = 'title = "MNIST, small"\n[data]\ndataset = "mnist"\nexamples = 100\n'
LINF = HEAD + '[threat]\nkind = "linf"\nepsilon = 0.3\n'
PHASE = '[[phases]]\nname = "Finals"\nopens = 2026-12-01T00:00:00Z\ncloses = 2026-12-10T00:00:00Z\n'


def challenge(text: str) -> Challenge:
    return parse_toml(text.encode(), Challenge, where="challenge.toml")


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        challenge(text)
    return str(caught.value)


def threat(text: str, dataset: str = "mnist") -> str:
    """What a pack whose threat, on line 5, is this inline table is told; "" when it is accepted."""
    head = (
        HEAD.replace("mnist", dataset).replace("[data]\n", "").replace("dataset", "data.dataset").replace("exam", "data.exam")
    )
    try:
        challenge(f"{head}\nthreat = {text}\n")
    except InputError as error:
        return str(error).removeprefix("challenge.toml: ")
    return ""


# Where


EVERYTHING = """
a.b."c d" = 1 # ] not the end
'q' = \"\"\"
x ] [ " \\\"\"\"\"
d = 2026-12-01 00:00:00Z
[t . u]
x = [ [1,2], # c
  {y = 1, "z" = ['a,]', "b}"]},
]
[[p]]
n = 1
[[p.q]]
m = 2
[p.r]
s = '''a
'b''''
[[p]]
n = 2
[[p.q]]
[[p.q]]
m = 3
"""


def paths(value: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of everything that a parsed text holds."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield (*above, key)
        yield from paths(member, (*above, key))


def test_every_key_and_member_of_a_text_has_its_line() -> None:
    texts = [EVERYTHING, *(path.read_text() for path in [ROOT / "pyproject.toml", *ROOT.glob("challenges/**/*.toml")])]
    for text in texts:
        assert lines(text).keys() == set(paths(tomllib.loads(text)))
    found = lines(EVERYTHING)
    assert [found["a", "b", "c d"], found["q",], found["d",], found["t", "u", "x", 1, "z", 1]] == [2, 3, 5, 8]
    assert [found["p", 0, "r", "s"], found["p", 1, "n"], found["p", 1, "q", 1, "m"]] == [15, 18, 21]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LINF.replace("0.3", "3"), "line 7, threat.epsilon: must be at most 1, not 3."),
        (LINF.replace("\n", "\r\n").replace("0.3", "3"), "line 7, threat.epsilon: must be at most 1, not 3."),
        (LINF.replace("examples", "exmples"), 'line 4, data.exmples: unknown field. Did you mean "examples"?'),
        (LINF.replace("examples = 100\n", ""), 'line 2, data.examples: is required. Add "examples".'),
        (LINF.replace(HEAD[:23], ""), 'title: is required. Add "title".'),
        (LINF + "[certified]\nradii = [\n0.3,\n0.2]\n", "line 11, certified.radii[2]: radii must be at least 0 and increase."),
        (LINF + '[evaluation]\nensemble = "short"\n', ""),
    ],
)
def test_the_line_is_named(text: str, words: str) -> None:
    assert (refusal(text) if words else challenge(text) and "challenge.toml: ") == f"challenge.toml: {words}"


def test_a_defense_and_an_attack_are_reported_their_lines_too() -> None:
    for model, text, words in (
        (DefenseManifest, 'name = "x"\nformat = "onnx"', 'line 2, format: "onnx" needs weights.'),
        (AttackManifest, 'name = "x"\nformat = "array"\ntarget = "y"', 'line 2, format: "array" needs array.'),
        (DefenseManifest, 'format = "python"\nentry = "a.py"\nname = "a\\u0000b"', "line 3, name: must not hold the control"),
    ):
        with pytest.raises(InputError, match=re.escape(f"m.toml: {words}")):
            parse_toml(text.encode(), model, where="m.toml")


# What is read


@pytest.mark.parametrize("model", [Challenge, DefenseManifest])
def test_a_byte_order_mark_is_read_over(model: type[Challenge | DefenseManifest]) -> None:
    text = LINF if model is Challenge else 'name = "x"\nformat = "python"\nentry = "a.py"\n'
    assert parse_toml(b"\xef\xbb\xbf" + text.encode(), model, where="m") == parse_toml(text.encode(), model, where="m")


def test_numbers_are_written_as_the_field_writes_them() -> None:
    read = challenge(LINF.replace("0.3", '"8/255"') + '[certified]\nradii = [0, "4/255", " 8 / 255 "]\n')
    assert isinstance(read.threat, LinfSpec)
    assert read.threat.epsilon == 8 / 255
    assert read.certified is not None
    assert read.certified.radii == (0.0, 4 / 255, 8 / 255)
    assert not threat('{kind = "union", members = [{kind = "linf", epsilon = "1/3"}, {kind = "l2", epsilon = "3/2"}]}')


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('"8/25x"', 'must be a number, not "8/25x". A fraction is written "8/255".'),
        ('"300/255"', "must be at most 1, not 1.1764705882352942."),
        ('"8/0"', 'must be a number; "8/0" divides by 0.'),
        ("8/255", 'Write a fraction in quotes, such as "8/255".'),
        ('"0.3"', 'must be a number, not "0.3". Write it without quotes.'),
    ],
)
def test_a_number_that_is_none_is_shown_how_to_write_it(written: str, told: str) -> None:
    assert refusal(LINF.replace("0.3", written)).endswith(told)


# One thing, one message


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "2026-12-01T00:00:00Z",
            "2026-12-01",
            "line 10, phases[1].opens: must be a date with a time, not 2026-12-01. Write 2026-12-01T00:00:00Z, where Z is UTC.",
        ),
        (
            "2026-12-01T00:00:00Z",
            '"2026-12-01"',
            'line 10, phases[1].opens: must be a date with a time, not "2026-12-01". '
            "Write it without quotes, as in 2026-12-01T00:00:00Z.",
        ),
        (
            "2026-12-10T00:00:00Z",
            "12:00:00",
            "line 11, phases[1].closes: must be a date with a time, not 12:00:00. Write it as in 2026-12-01T00:00:00Z.",
        ),
        ('"Finals"', "[1]", "line 9, phases[1].name: must be text in quotes, not a list."),
    ],
)
def test_a_phase_is_shown_what_is_wrong_with_it(old: str, new: str, told: str) -> None:
    assert refusal(LINF + PHASE.replace(old, new)) == f"challenge.toml: {told}"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("5", "threat: must be a table, not 5."),
        ('{kind = "union", members = [{kind = "linf", epsilon = 0.1}, 5]}', "threat.members[2]: must be a table, not 5."),
        (
            '{kind = "union", members = [{kind = "linf", epsilon = 0.1}, {kind = "l2", epsilon = nan}]}',
            "threat.members[2].epsilon: must be a finite number, not nan.",
        ),
        ('{kind = "union", members = [{kind = "linf", epsilon = 0.1}]}', "threat.members: must have at least 2 entries."),
        ('{kind = "patch", side = 3, location = [1]}', "threat.location: must have more than 1 entry."),
        ('{kind = "patch", side = 3, location = []}', "threat.location: must have more than 0 entries."),
        ('{kind = "patch", side = 3, location = [1, 2, 3]}', "threat.location: must have at most 2 entries."),
        ('{kind = "patch", side = 3, location = [1, "b"]}', 'threat.location[2]: must be a whole number, not "b".'),
        (
            '{kind = "corruptions", severity = [0, 5]}',
            "threat.severity: must be a whole number from 1 to 5, or the lowest and the highest, such as [1, 5], not [0, 5].",
        ),
        ('{kind = "corruptions", severity = [5, 1]}', "threat.severity: the lowest severity, 5, is above the highest, 1."),
        ('{kind = "corruptions", severity = 1, kinds = ["fog", "snow", "fog"]}', 'threat.kinds[3]: "fog" is there twice.'),
    ],
)
def test_a_list_and_its_members_are_named_counted_from_one_and_only_once(table: str, told: str) -> None:
    assert threat(table) == f"line 5, {told}"


# What no image has


@pytest.mark.parametrize(
    ("dataset", "table", "told"),
    [
        ("mnist", '{kind = "l2", epsilon = 28.1}', "epsilon: must be at most 28, the distance of the farthest two images"),
        ("mnist", '{kind = "l1", epsilon = 785}', "epsilon: must be at most 784, the distance of the farthest two images"),
        ("cifar10", '{kind = "l1", epsilon = 3073}', "epsilon: must be at most 3072"),
        ("mnist", '{kind = "l0", epsilon = 5000}', "epsilon: must be at most 784, the pixels of an image, not 5000"),
        ("cifar10", '{kind = "l0", epsilon = 1025}', "epsilon: must be at most 1024, the pixels of an image, not 1025"),
        (
            "mnist",
            '{kind = "union", members = [{kind = "linf", epsilon = 0.1}, {kind = "l0", epsilon = 785}]}',
            "members[2].epsilon: must be at most 784",
        ),
        ("mnist", '{kind = "spatial", epsilon = 28}', "epsilon: must be less than 28 pixels, the side of an image, not 28"),
        ("mnist", '{kind = "rotation-translation", degrees = 5, pixels = 40}', "pixels: must be less than 28 pixels"),
        ("mnist", '{kind = "color", epsilon = 0.1}', "kind: color maps need color images; those of this data set are gray"),
        (
            "mnist",
            '{kind = "sum", parts = [{kind = "linf", epsilon = 0.1}, {kind = "color", epsilon = 0.1}]}',
            "parts[2].kind: color maps need color images",
        ),
        (
            "mnist",
            '{kind = "sum", parts = [{kind = "spatial", epsilon = 30}, {kind = "linf", epsilon = 0.1}]}',
            "parts[1].epsilon: must be less than 28 pixels",
        ),
        ("mnist", '{kind = "patch", side = 50}', "side: must be at most 28, as images have 28 x 28 pixels, not 50"),
        (
            "mnist",
            '{kind = "patch", side = 5, location = [3, 24]}',
            "location[2]: must be at most 23 for a patch of side 5 in 28 x 28 pixels, not 24",
        ),
        ("mnist", '{kind = "patch", side = 5, location = [-1, 0]}', "location[1]: must be at least 0, not -1"),
        ("mnist", '{kind = "physical", base = {kind = "patch", side = 29}}', "base.side: must be at most 28"),
        (
            "mnist",
            '{kind = "physical", base = {kind = "patch", side = 9}, views = {translation = 28}}',
            "views.translation: must be less than 28 pixels",
        ),
        (
            "mnist",
            '{kind = "physical", base = {kind = "patch", side = 9}, views = {blur = 99}}',
            "views.blur: must be less than 28",
        ),
        ("cifar10", '{kind = "color", epsilon = 0.1}', ""),
        ("mnist", '{kind = "l0", epsilon = 784}', ""),
        ("mnist", '{kind = "patch", side = 5, location = [23, 23]}', ""),
        ("cifar10", '{kind = "patch", side = 30}', ""),
        ("mnist", '{kind = "corruptions", severity = 5}', ""),
    ],
)
def test_a_threat_that_no_image_of_the_data_set_has_is_refused(dataset: str, table: str, told: str) -> None:
    said = threat(table, dataset)
    assert said.startswith(f"line 5, threat.{told}") if told else not said


def test_a_certified_radius_beyond_every_image_is_refused() -> None:
    told = refusal(LINF + "[certified]\nradii = [0.3, 1.5]\n")
    assert "line 9, certified.radii[2]: must be at most 1, the distance of the farthest two images, not 1.5." in told
