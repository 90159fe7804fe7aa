"""Chips and the rules page say what an adversary wants, sees and may ask."""

from __future__ import annotations

import pytest

from arena.web.figures import Words
from evaluator.manifests.spec import Challenge, parse_toml


def words(table: str, threat: str = "linf") -> Words:
    text = f'title = "Words"\n[data]\ndataset = "cifar10"\nexamples = 9\n[threat]\nkind = "{threat}"\nepsilon = 1\n{table}'
    return Words.of(parse_toml(text.encode(), Challenge, where="challenge.toml"))


@pytest.mark.parametrize(
    ("access", "threat", "said"),
    [
        ("", "linf", "white-box gradients"),
        ('level = "none"', "linf", "no access: transfer"),
        (
            'level = "scores"\nrows_per_example = 2000\nsharing = "separate"\noutside = "refused"',
            "linf",
            "scores only, 2,000 queries an image, inside the ball only",
        ),
        (
            'level = "scores"\nsharing = "separate"\noutside = "refused"',
            "l0",
            "scores only, 20,000 queries an image, inside the threat only",
        ),
        ('level = "labels"\nrows_per_example = 500', "linf", "labels only, 500 queries an image, shared by all images"),
    ],
)
def test_the_access_chip_names_the_budget_of_queries(access: str, threat: str, said: str) -> None:
    assert words(f"[access]\n{access}\n", threat).access == said


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ('"random"', "targeted: a target class drawn for each image"),
        ('"each"', "targeted: every other class in turn, the worst case counts"),
        ('"least-likely"', "targeted: the class that the defense finds least likely"),
        ('"cat"', "targeted: cat"),
        ("3", "targeted: cat"),
    ],
)
def test_a_goal_that_is_not_the_usual_one_has_a_chip(target: str, said: str) -> None:
    found = words(f'[goal]\nkind = "targeted"\ntarget = {target}\n')
    assert found.goal == found.other_goal == said
    assert words("").other_goal == ""
    assert words("").goal == "any wrong class"


def test_the_rules_say_which_search_judges() -> None:
    box = words('[access]\nlevel = "labels"\nrows_per_example = 500\n[evaluation]\nensemble = "black-box"\n')
    assert box.black_box
    assert box.ensemble == "black-box: attacks that see labels, each with 500 queries an image"
    assert not words("").black_box
