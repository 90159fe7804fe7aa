"""Packed verdicts, and the worst case over a row of the matrix."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from arena.rankings.bits import Bits, count, overlap, pack, packed_survivors, unpack

ROWS = st.integers(1, 40).flatmap(lambda n: npst.arrays(bool, st.tuples(st.integers(1, 6), st.just(n))))


def survivors(robust: Bits, breaks: Iterable[Bits]) -> Bits:
    """What is left, written plainly: robust before, and broken by no attack."""
    return np.array([stood and not any(broken[at] for broken in breaks) for at, stood in enumerate(robust)], dtype=bool)


def left(rows: Bits) -> Bits:
    """What the packed count leaves of the first row when the others break it."""
    return unpack(packed_survivors(pack(rows[0]), [pack(broken) for broken in rows[1:]]), rows.shape[1])


@given(ROWS)
def test_packing_loses_nothing(rows: Bits) -> None:
    for row in rows:
        assert np.array_equal(unpack(pack(row), len(row)), row)
        assert count(pack(row)) == row.sum()


def test_bits_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        unpack(b"\0\0", 17)


@given(ROWS)
def test_adding_an_attack_never_raises_a_defense(rows: Bits) -> None:
    assert not (left(rows) & ~left(rows[:-1] if len(rows) > 1 else rows)).any()


@given(ROWS, st.randoms())
def test_permuting_the_examples_permutes_the_survivors(rows: Bits, random: object) -> None:
    order = list(range(rows.shape[1]))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert np.array_equal(left(rows)[order], left(rows[:, order]))


@given(ROWS)
def test_packed_and_plain_survivors_agree(rows: Bits) -> None:
    robust, *attacks = rows
    packed = packed_survivors(pack(robust), [pack(broken) for broken in attacks])
    assert np.array_equal(unpack(packed, len(robust)), survivors(robust, attacks))
    assert count(packed) == survivors(robust, attacks).sum(), "the padding stays zero"


def test_two_rows_overlap_where_one_example_is_set_in_both() -> None:
    one = pack([1, 0, 0, 0, 0, 0, 0, 1])
    assert overlap(one, pack([0, 1, 0, 0, 0, 0, 0, 1]))
    assert overlap(one, pack([1, 1, 0, 0, 0, 0, 0, 0]))
    assert not overlap(one, pack([0, 1, 1, 1, 1, 1, 1, 0]))
    assert not overlap(one, pack([0] * 8))
