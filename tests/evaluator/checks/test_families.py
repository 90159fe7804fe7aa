"""No variant of a family of cheats stands better than the network behind it without a flag that bars it from a rank."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from unittest import mock

import pytest

from evaluator.adaptive.automatic import Automatic
from evaluator.attacks.apgd import APGD
from evaluator.checks import honest as checks
from evaluator.ensembles import Sequence, Stage
from tests.evaluator.families import FAMILIES, caught, examples, judged, network

SHORT = Sequence("short", (Stage("APGD-20, margin", APGD(steps=20, loss="margin")),), files=True)
VARIANTS = [(family, variant) for family, variants in FAMILIES.items() for variant in variants]
FIRST = [(family, next(iter(variants))) for family, variants in FAMILIES.items()]


@pytest.fixture(autouse=True)
def _short() -> Iterator[None]:
    """Few steps of the adaptive attack: detection is to owe it nothing."""
    with mock.patch.object(checks, "Automatic", functools.partial(Automatic, steps=2, queries=5)):
        yield


@pytest.mark.parametrize(("family", "variant"), FIRST)
def test_the_first_variant_of_each_family_wins_nothing(family: str, variant: str) -> None:
    result = caught(FAMILIES[family][variant], 12, seed=5, search=SHORT)
    assert not result.won, result


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("family", "variant"), VARIANTS)
def test_no_variant_wins_anything_under_the_official_search(family: str, variant: str, seed: int) -> None:
    result = caught(FAMILIES[family][variant], 40, seed)
    assert not result.won, result


def test_the_network_behind_the_families_is_not_flagged_and_every_family_has_six_variants() -> None:
    verdict = judged(network, examples(12), 5, SHORT)
    assert [flag.check for flag in verdict.flags if flag.severity == "unverified"] == []
    assert all(len(variants) >= 6 for variants in FAMILIES.values())
