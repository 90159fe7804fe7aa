"""Every shipped pack is whole, and a wrong manifest is told its file, its field and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from arena.cli.catalog import challenges
from evaluator.errors import InputError
from evaluator.manifests.challenge_packs import PACKS, golden_folder, list_packs, load_golden, load_pack
from evaluator.manifests.spec import Challenge, DefenseManifest, load_manifest, parse_toml
from evaluator.manifests.threat_specs import threat_kinds
from evaluator.records.report import Report
from evaluator.threats import build

VALID = """
title = "MNIST, small"
[data]
dataset = "mnist"
examples = 100
[threat]
kind = "linf"
epsilon = 0.3
"""
EARLIER = {f"mnist-{kind}" for kind in ("linf", "l2", "certified")}
EARLIER |= {f"cifar10-{kind}" for kind in ("linf", "l2", "certified-l2")}
EXPECTED = """
[entries.honest]
examples = 10
clean_accuracy = [0.9, 1.0]
robust_accuracy = [0.5, 0.75]
"""


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_toml(text.encode(), Challenge, where="challenge.toml")
    return str(caught.value)


def write_pack(folder: Path, manifest: str = VALID) -> Path:
    folder.mkdir(parents=True)
    (folder / "challenge.toml").write_text(manifest)
    return folder


def test_there_is_a_pack_for_every_kind_of_threat_and_a_board_for_targets() -> None:
    found = [load_pack(slug).challenge for slug in list_packs()]
    assert {challenge.threat.kind for challenge in found} >= threat_kinds().keys() - {"color"}, "a sum has the colors"
    assert any(challenge.goal.targeted for challenge in found)
    assert any(challenge.ranking.by == "mce" for challenge in found)


@pytest.mark.parametrize("slug", sorted(set(list_packs()) - EARLIER))
def test_a_later_packs_readme_says_what_a_verdict_costs_and_one_baseline_enters(slug: str) -> None:
    cost = (PACKS / slug / "README.md").read_text().split("## Cost\n")[1].split("## golden")[0]
    assert re.search(r"[\d,.]+ rows and [\d.]+ seconds", cost)
    assert len(load_pack(slug).challenge.baselines.enter) == 1, "the first start stays quick"


@pytest.mark.parametrize("slug", list_packs())
def test_a_shipped_pack_is_whole(slug: str) -> None:
    pack = load_pack(slug)
    assert pack.folder == PACKS / slug
    assert build(pack.challenge.threat).epsilon > 0
    golden = load_golden(pack)
    assert {"honest", "cheating"} <= golden.entries.keys()
    for name, expected in golden.entries.items():
        load_manifest(golden_folder(pack, name, expected) / "defense.toml", DefenseManifest)


@pytest.mark.parametrize("slug", list_packs())
def test_a_shipped_packs_readme_states_its_title_and_how_to_submit(slug: str) -> None:
    readme = (PACKS / slug / "README.md").read_text()
    assert readme.startswith(f"# {load_pack(slug).challenge.title}\n")
    for heading in ("## Threat model", "## What ranks", "## Rules", "## Submit"):
        assert heading in readme
    assert f"redoubt submit FOLDER --challenge {slug}" in readme


def test_the_madry_board_is_published_with_the_first_ensemble_and_the_last_attack() -> None:
    published = load_pack("mnist-linf").challenge.published
    assert published is not None
    by_attack = {row.attack: row.accuracy for row in published.rows}
    assert len(by_attack) == len(published.rows) == 17
    assert (by_attack["FGSM, cross-entropy"], by_attack["Square attack"], min(by_attack.values())) == (96.36, 88.25, 88.0)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("examples", "exmples", 'data.exmples: unknown field. Did you mean "examples"?'),
        ("examples", "colour = 3\nexamples", "data.colour: unknown field."),
        ("[threat]", "[threats]", 'threats: unknown field. Did you mean "threat"?'),
        ('title = "MNIST, small"', "", 'title: is required. Add "title".'),
        ("0.3", '"0.3"', 'threat.epsilon: must be a number, not "0.3". Write it without quotes.'),
        ("0.3", "true", "threat.epsilon: must be a number, not true."),
        ("100", "10.5", "data.examples: must be a whole number, not 10.5."),
        ('"MNIST, small"', "7", "title: must be text in quotes, not 7."),
        ('"MNIST, small"', '"M"', "title: must have at least 3 characters."),
        ("0.3", "0", "threat.epsilon: must be greater than 0, not 0."),
        ("0.3", "1.5", "threat.epsilon: must be at most 1, not 1.5."),
        ("0.3", "nan", "threat.epsilon: must be a finite number, not nan."),
        ("0.3", "-inf", "threat.epsilon: must be a finite number, not -inf."),
        ("100", "20000", "data.examples: must be at most 10000, the size of this split, not 20000."),
        ('"linf"', '"lnf"', 'not "lnf". Did you mean "linf"?'),
        ('kind = "linf"', "", "threat: has no kind. Add kind = "),
        ('"mnist"', '"minst"', 'data.dataset: must be "mnist", "cifar10" or "files", not "minst". Did you mean "mnist"?'),
        ("[threat]", '[limits]\nrequired = ["memry"]\n[threat]', "limits.required[1]: must be "),
        ("[threat]", '[published]\ntitle = "x"\nrows = 3\n[threat]', "published.rows: must be a list, not 3."),
        ("[data]", "[data", "is not valid TOML"),
    ],
)
def test_a_wrong_manifest_is_shown_its_file_its_field_and_what_to_do(old: str, new: str, words: str) -> None:
    text = VALID.replace(old, new, 1)
    assert text != VALID
    told = refusal(text)
    assert told.startswith("challenge.toml: ")
    assert words in told


CERTIFIED = VALID + "[certified]\nradii = [0.0, 0.3, 0.5]\n"


def test_a_certified_board_ranks_at_the_threats_epsilon() -> None:
    spec = parse_toml(CERTIFIED.encode(), Challenge, where="challenge.toml").certified
    assert spec is not None
    assert (spec.radii, spec.alpha, spec.samples) == ((0.0, 0.3, 0.5), 0.001, 100_000)
    published = load_pack("cifar10-certified-l2").challenge.certified
    assert published is not None
    cohen = published.references[0]
    assert (cohen.title, cohen.accuracy) == ("Cohen et al. 2019", (61, 43, 32, 22, 17, 14, 10, 7, 4))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0.3, 0.5]", "0.4]", "line 10, certified.radii: must hold the threat's epsilon, 0.3"),
        ("[0.0, 0.3, 0.5]", "[0.3, 0.0]", "certified.radii[2]: radii must be at least 0 and increase"),
        ("[certified]", "[certified]\nalpha = 0.5", "certified.alpha: must be at most 0.05"),
        ("[certified]", "[certified]\nsamples = 1001", "certified.samples: must be a multiple of 50"),
        (
            "[certified]",
            '[[certified.references]]\ntitle="x"\nradii=[1.0]\naccuracy=[]\n[certified]',
            "one percentage for each",
        ),
        (
            'kind = "linf"\nepsilon = 0.3',
            'kind = "l0"\nepsilon = 3',
            'certified board needs a threat of kind linf, l2 or l1, not "l0"',
        ),
    ],
)
def test_a_wrong_certified_table_is_shown_what_is_wrong(old: str, new: str, words: str) -> None:
    text = CERTIFIED.replace(old, new, 1)
    assert text != CERTIFIED
    assert words in refusal(text)


RANKED = VALID + '[ranking]\nby = "mce"\n'


def test_any_board_may_show_the_table_of_corruptions_and_rank_by_it() -> None:
    plain = parse_toml(VALID.encode(), Challenge, where="challenge.toml")
    assert (plain.tabulates, plain.ranking.by) == (False, "robust")
    asked = parse_toml(f"{RANKED}[evaluation]\ncorruptions = true\n".encode(), Challenge, where="challenge.toml")
    assert (asked.tabulates, asked.ranking.by) == (True, "mce")
    board = RANKED.replace('kind = "linf"\nepsilon = 0.3', 'kind = "corruptions"\nseverity = [1, 5]')
    assert parse_toml(board.encode(), Challenge, where="challenge.toml").tabulates


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("mce", "mse", 'ranking.by: must be "robust" or "mce", not "mse". Did you mean "mce"?'),
        ("mce", "mce", 'ranking.by: "mce" needs a threat of kind corruptions, or corruptions = true in [evaluation]'),
        ("examples", 'split = "train"\nexamples', 'ranking.by: "mce" needs a threat of kind corruptions'),
    ],
)
def test_a_wrong_ranking_is_told_what_is_wrong(old: str, new: str, words: str) -> None:
    assert words in refusal(RANKED.replace(old, new))


def test_mce_is_known_on_the_test_split_only() -> None:
    board = RANKED.replace('kind = "linf"\nepsilon = 0.3', 'kind = "corruptions"\nseverity = [1, 5]')
    told = refusal(board.replace("examples", 'split = "train"\nexamples'))
    assert 'ranking.by: "mce" needs the test split' in told
    most = refusal(board.replace('"mnist"', '"cifar10"').replace("100", "1001"))
    assert 'ranking.by: "mce" needs at most 1,000 examples' in most


def test_a_misspelt_field_is_not_also_called_missing() -> None:
    assert "required" not in refusal(VALID.replace("examples", "exmples"))


def test_several_mistakes_are_reported_at_once() -> None:
    told = refusal(VALID.replace("100", "-1").replace("0.3", "-1"))
    assert (
        "line 5, data.examples: must be greater than 0, not -1; line 8, threat.epsilon: must be greater than 0, not -1." in told
    )


def test_a_mistake_in_a_list_of_tables_names_the_entry() -> None:
    rows = '[published]\ntitle = "x"\n' + 2 * '[[published.rows]]\nattack = "a"\naccuracy = 50\n'
    told = refusal(VALID + rows.replace("50", "101"))
    assert "line 13, published.rows[1].accuracy: must be at most 100, not 101; line 16, published.rows[2].accuracy" in told


def test_a_manifest_too_large_or_not_text_is_refused() -> None:
    assert "a manifest has at most" in refusal(VALID + "#" * 70_000)
    with pytest.raises(InputError, match="is not UTF-8 text"):
        parse_toml(b"\xff", Challenge, where="challenge.toml")


def test_a_pack_is_found_by_folder_or_by_slug_and_a_wrong_slug_is_reported_the_nearest(tmp_path: Path) -> None:
    folder = write_pack(tmp_path / "my-pack")
    assert load_pack(folder).slug == load_pack("my-pack", root=tmp_path).slug == "my-pack"
    with pytest.raises(InputError, match='Did you mean "mnist-linf"'):
        load_pack("mnist-lnf")


def test_the_list_of_packs_shows_the_valid_ones_and_names_the_wrong_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slug = "a-slug-that-is-as-long-as-slugs-may-be-and-is-still-shown-all"
    write_pack(tmp_path / slug[:60])
    write_pack(tmp_path / "misspelt", VALID.replace("title", "titel"))
    write_pack(tmp_path / "impossible", VALID.replace("0.3", "3"))
    challenges(root=tmp_path)
    said = capsys.readouterr()
    assert slug[:60] in said.out
    assert said.err.splitlines() == [
        "redoubt: impossible/challenge.toml: line 8, threat.epsilon: must be at most 1, not 3.",
        'redoubt: misspelt/challenge.toml: line 2, titel: unknown field. Did you mean "title"?',
    ]
    with pytest.raises(InputError, match="holds no challenge pack"):
        challenges(root=tmp_path / slug[:60])


def test_a_folder_whose_name_is_no_slug_is_reported_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Rename it: lower-case letters"):
        load_pack(write_pack(tmp_path / "My Pack"))


def test_a_packs_digest_follows_its_manifest_and_not_its_readme(tmp_path: Path) -> None:
    first = load_pack(write_pack(tmp_path / "a"))
    (tmp_path / "a" / "README.md").write_text("words")
    assert load_pack(tmp_path / "a").digest == first.digest
    assert load_pack(write_pack(tmp_path / "b", VALID.replace("100", "101"))).digest != first.digest


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (EXPECTED.replace("0.75", "1.75"), r"entries\.honest\.robust_accuracy\[2\]: must be at most 1, not 1\.75"),
        (EXPECTED.replace("0.75", "0.25"), "the lowest accuracy 0.5 is above the highest, 0.25"),
        (EXPECTED.replace("examples", "example"), 'Did you mean "examples"'),
        (
            EXPECTED.replace("robust", "rubust"),
            r'entries\.honest\.rubust_accuracy: unknown field\. Did you mean "robust_accuracy"',
        ),
        (EXPECTED.replace("honest", "absent"), "there is no absent/defense.toml"),
        (EXPECTED + 'baseline = "mnist-pdg"\n', 'there is no baseline "mnist-pdg"'),
        (
            EXPECTED.replace("10", "101"),
            r"entries\.honest\.examples: must be at most 100, the examples of the challenge, not 101",
        ),
        (EXPECTED.replace("0.9, 1.0", "0.9"), r"line 4, entries\.honest\.clean_accuracy: must have more than 1 entry\.$"),
    ],
)
def test_wrong_golden_expectations_are_refused(expected: str, words: str, tmp_path: Path) -> None:
    golden = write_pack(tmp_path / "pack") / "golden"
    (golden / "honest").mkdir(parents=True)
    (golden / "honest" / "defense.toml").write_text('name = "x"\nformat = "python"\nentry = "defense.py"\n')
    (golden / "expected.toml").write_text(expected)
    with pytest.raises(InputError, match=words):
        load_golden(load_pack(tmp_path / "pack"))


def test_a_score_outside_its_range_is_a_violation_and_one_inside_is_none(tmp_path: Path) -> None:
    golden = write_pack(tmp_path / "pack") / "golden"
    (golden / "honest").mkdir(parents=True)
    (golden / "honest" / "defense.toml").touch()
    (golden / "expected.toml").write_text(EXPECTED)
    honest = load_golden(load_pack(tmp_path / "pack")).entries["honest"]
    assert honest.violations(Report.model_construct(clean_accuracy=0.9, robust_accuracy=0.75)) == []
    violated = honest.violations(Report.model_construct(clean_accuracy=0.9, robust_accuracy=0.8))
    assert violated == ["robust accuracy 0.800 is outside 0.500 to 0.750"]


def test_no_code_of_a_shipped_pack_is_written_twice() -> None:
    """Cheats are one module, and a pack names the one that it is tried by."""
    long = [text for file in PACKS.rglob("*.py") if (text := file.read_text()).count("\n") > 6]
    assert len(set(long)) == len(long)
