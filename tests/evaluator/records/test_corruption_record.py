"""mCE and relative mCE are the paper's formulas, and shards add up to the same figures."""

from __future__ import annotations

import pytest

from evaluator.errors import InputError
from evaluator.records.corruption_record import corruption_record, join_corruptions
from evaluator.records.report import CorruptionRecord, StandardErrors

STANDARD = StandardErrors(network="net", clean_errors=4, errors=[[10, 30], [5, 15], [0, 0]])


def record(errors: list[list[int]], standard: StandardErrors | None = STANDARD, examples: int = 100) -> CorruptionRecord:
    kinds = ["fog", "snow", "jpeg"]
    return corruption_record(kinds, [1, 5], examples=examples, clean_errors=2, errors=errors, standard=standard)


def test_ce_is_the_sum_over_severities_by_that_of_the_standard_network() -> None:
    found = record([[10, 10], [10, 20], [1, 1]])
    assert found.ratios == [20 / 40, 30 / 20, None], "of jpeg the standard network makes no error"
    assert found.mce == pytest.approx((0.5 + 1.5) / 2)
    assert found.relative_mce == pytest.approx(((20 - 4) / (40 - 8) + (30 - 4) / (20 - 8)) / 2)


def test_the_standard_network_itself_is_1() -> None:
    only = STANDARD.model_copy(update={"errors": STANDARD.errors[:1]})
    own = corruption_record(["fog"], [1, 5], examples=100, clean_errors=4, errors=only.errors, standard=only)
    assert (own.mce, own.relative_mce) == (1.0, 1.0)


def test_without_the_standard_networks_errors_there_is_the_table_and_no_mce() -> None:
    found = record([[1, 2], [3, 4], [5, 6]], standard=None)
    assert (found.errors, found.ratios, found.mce, found.relative_mce) == ([[1, 2], [3, 4], [5, 6]], [None] * 3, None, None)


def test_a_network_that_only_errs_on_clean_images_leaves_no_relative_figure() -> None:
    calm = StandardErrors(network="net", clean_errors=4, errors=[[4, 4], [3, 3], [1, 1]])
    assert record([[1, 2], [3, 4], [5, 6]], standard=calm).relative_mce is None


def test_shards_add_up_to_the_whole() -> None:
    whole = record([[11, 12], [13, 14], [5, 6]], examples=200)
    half = StandardErrors(network="net", clean_errors=2, errors=[[5, 15], [2, 5], [0, 0]])
    rest = StandardErrors(network="net", clean_errors=2, errors=[[5, 15], [3, 10], [0, 0]])
    parts = [record([[1, 2], [3, 4], [5, 6]], half), record([[10, 10], [10, 10], [0, 0]], rest)]
    parts = [part.model_copy(update={"clean_errors": 1}) for part in parts]
    assert join_corruptions(parts) == whole
    assert join_corruptions([]) is None


def test_shards_of_other_corruptions_are_refused_and_an_unknown_part_leaves_no_mce() -> None:
    first = record([[1, 2], [3, 4], [5, 6]])
    with pytest.raises(InputError, match="different corruptions"):
        join_corruptions([first, first.model_copy(update={"severities": [2, 3]})])
    joined = join_corruptions([first, record([[1, 2], [3, 4], [5, 6]], standard=None)])
    assert joined is not None
    assert (joined.mce, joined.examples) == (None, 200)
