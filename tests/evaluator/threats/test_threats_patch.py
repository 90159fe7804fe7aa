"""Patches on images that are neither square nor gray: what a small change of the code would confuse."""

from __future__ import annotations

import pytest
import torch

from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.threats import Patch

X = torch.full((1, 3, 4, 6), 0.5)


def test_one_changed_channel_of_one_pixel_is_a_patch() -> None:
    z = X.clone()
    z[0, 1, 2, 4] = 1.0
    assert Patch(1).contains(X, z).tolist() == [True]
    z[0, 2, 2, 5] = 0.0
    assert Patch(1).contains(X, z).tolist() == [False]
    assert Patch(2).contains(X, z).tolist() == [True]


def test_a_fixed_square_is_named_by_row_and_column() -> None:
    threat, everywhere = Patch(2, location=(1, 3)), torch.ones_like(X)
    changed = (threat.project(X, everywhere) != X).any(dim=1)[0]
    assert changed.nonzero().tolist() == [[1, 3], [1, 4], [2, 3], [2, 4]]
    assert threat.contains(X, threat.project(X, everywhere)).tolist() == [True]
    corner = X.clone()
    corner[..., 0, 0] = 1.0
    assert threat.contains(X, corner).tolist() == [False]


@pytest.mark.parametrize("location", [None, (0, 0), (3, 5)])
def test_an_unchanged_image_is_inside(location: tuple[int, int] | None) -> None:
    assert Patch(1, location=location).contains(X, X).tolist() == [True]


@pytest.mark.parametrize("threat", [Patch(4), Patch(2, location=(2, 4)), Patch(2, location=(2, 0)), Patch(2, location=(0, 4))])
def test_a_square_that_just_fits_is_taken(threat: Patch) -> None:
    points = threat.random_start(X, Draws(0, torch.arange(1)))
    assert threat.contains(X, points).tolist() == [True]
    assert int((points != X).any(dim=1).sum()) == threat.side**2


@pytest.mark.parametrize("threat", [Patch(5), Patch(2, location=(3, 0)), Patch(2, location=(0, 5))])
def test_a_square_that_does_not_fit_is_refused(threat: Patch) -> None:
    with pytest.raises(InputError):
        threat.random_start(X, Draws(0, torch.arange(1)))


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(InputError, match="does not fit"):
        Patch(2).random_start(X[0], Draws(0, torch.arange(3)))
