"""Projections and distances worked out by hand, in cases that random inputs rarely reach."""

from __future__ import annotations

import torch

from evaluator.draws import Draws
from evaluator.threats import L0, L1, L2, Linf, Union

GRAY = torch.full((1, 1, 2, 2), 0.5)


def test_a_pixel_counts_as_changed_when_one_of_its_channels_is() -> None:
    x = torch.full((1, 3, 2, 2), 0.5)
    z = x.clone()
    z[0, 1, 0, 0] = 0.6
    z[0, 0, 1, 1] = 0.4
    z[0, 2, 1, 1] = 0.9
    assert L0(2).distance(x, z).tolist() == [2.0]
    assert L0(2).contains(x, z).tolist() == [True]
    assert L0(1).contains(x, z).tolist() == [False]


def test_only_the_coordinate_that_leaves_its_wall_first_gives_way_under_l1() -> None:
    x = torch.full((1, 3), 0.5)
    z = x + torch.tensor([[1.5, 1.6, 2.5]])
    torch.testing.assert_close(L1(1.45).project(x, z), torch.tensor([[0.95, 1.0, 1.0]]))


def test_a_union_takes_the_member_whose_projection_is_nearest_also_the_first() -> None:
    narrow, wide = Linf(0.1), L2(0.4)
    one = GRAY + torch.tensor([0.3, 0.0, 0.0, 0.0]).reshape(1, 1, 2, 2)  # inside the L2 ball
    all_ = GRAY + 0.1  # inside the Linf ball, and in the L2 ball of 0.15 only in part
    for members in ((narrow, wide), (wide, narrow)):
        torch.testing.assert_close(Union(members).project(GRAY, one), one)
    for members in ((narrow, L2(0.15)), (L2(0.15), narrow)):
        torch.testing.assert_close(Union(members).project(GRAY, all_), all_)


def test_a_union_starts_in_either_member_about_as_often() -> None:
    x = torch.full((400, 1, 2, 2), 0.5)
    start = Union((Linf(0.01), L2(0.4))).random_start(x, Draws(3, torch.arange(400)))
    small = ((start - x).abs().amax(dim=(1, 2, 3)) <= 0.01 + 1e-6).double().mean()
    assert 0.4 < float(small) < 0.6
