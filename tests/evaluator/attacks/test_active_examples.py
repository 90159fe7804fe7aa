"""The record of examples still under attack: its rows leave everywhere at once, and what is about all examples stays."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.active import Active, Climbing, Walking
from evaluator.attacks.base import Batch
from evaluator.attacks.minimal_norm import Closest
from evaluator.draws import Draws


@dataclass
class Numbered(Active):
    """An attack's state with a field of its own."""

    number: Tensor


def batch(count: int = 5) -> Batch:
    x = torch.arange(count, dtype=torch.float32)[:, None].expand(count, 3) / 10
    return Batch(x.clone(), torch.arange(count), Draws(0, torch.arange(count)))


def test_what_is_dropped_leaves_every_field() -> None:
    now = Numbered(batch(), torch.tensor([10, 11, 12, 13, 14]))
    now.drop(torch.tensor([False, True, False, False, True]))
    assert now.at.tolist() == now.batch.y.tolist() == [0, 2, 3]
    assert now.number.tolist() == [10, 12, 13]
    now.keep(torch.tensor([2]))
    assert (now.at.tolist(), now.number.tolist(), len(now)) == ([3], [13], 1)


def test_the_same_streams_go_on() -> None:
    whole, now = batch(), Numbered(batch(), torch.zeros(5))
    now.drop(torch.tensor([True, False, True, False, True]))
    assert torch.equal(now.batch.draws.uniform(4), whole.draws.uniform(4)[[1, 3]])


def test_a_climb_keeps_what_came_of_those_that_left() -> None:
    now = Climbing(batch(), torch.zeros(5, 3))
    now.note(torch.ones(5, 3), torch.tensor([True, False, False, True, False]))
    now.drop(torch.tensor([True, False, False, True, False]))
    now.note(torch.full((3, 3), 2.0), torch.tensor([False, True, False]))
    assert now.found.points[:, 0].tolist() == [1, 2, 2, 1, 2]
    assert now.found.fell.tolist() == [True, False, True, True, False]


def test_the_closest_points_of_those_that_left_are_not_lost() -> None:
    start = Closest(torch.zeros(5, 3), torch.full((5,), torch.inf))
    now = Walking(batch(), start, torch.ones(5, 3))
    now.closer(lambda move: move.abs().amax(dim=1), torch.tensor([True, True, False, False, False]))
    now.drop(torch.tensor([False, True, False, True, False]))
    assert torch.equal(now.closest.distance, torch.tensor([1.0, 0.9, torch.inf, torch.inf, torch.inf]))
    now.z = now.batch.x
    now.closer(lambda move: move.abs().amax(dim=1), torch.ones(3, dtype=torch.bool))
    assert torch.equal(now.closest.distance, torch.tensor([0.0, 0.9, 0.0, torch.inf, 0.0]))
