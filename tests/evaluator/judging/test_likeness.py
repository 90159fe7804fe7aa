"""When two attacks found the same: in the threat's own distance, image by image."""

from __future__ import annotations

import torch

from evaluator.data.tensors import Examples
from evaluator.judging.compaction import compact
from evaluator.judging.likeness import alike, near
from evaluator.records.adversarial_archive import AdversarialArchive
from evaluator.threats import L2, Linf, Threat

X = torch.full((4, 1, 6, 6), 0.5)


def moved(by: torch.Tensor) -> torch.Tensor:
    return X + by


def test_a_tenth_of_epsilon_apart_is_the_same_and_more_is_not() -> None:
    threat = Linf(0.2)
    step = torch.full_like(X, 0.2)
    one = moved(step)
    noise = torch.full_like(X, 0.0)
    noise[0, 0, 0, 0], noise[1, 0, 0, 0], noise[2] = -0.0195, -0.0205, -0.0195
    assert near(one, one + noise, X, threat).tolist() == [True, False, True, True]
    small = threat.steepest_step(torch.randn(X.shape, generator=torch.Generator().manual_seed(0)), 0.005)
    assert near(moved(small), moved(-small), X, threat).tolist() == [False] * 4, "both are small, and opposite"
    assert near(moved(small), moved(0.9 * small), X, threat).tolist() == [True] * 4


def test_distance_is_the_threats_own() -> None:
    by = torch.zeros_like(X)
    by[:, 0, 0, 0] = 0.15
    other = by.clone()
    other[:, 0, 1, 1] = 0.03
    assert near(moved(by), moved(other), X, L2(0.2)).tolist() == [False] * 4
    assert near(moved(by), moved(other), X, L2(0.35)).tolist() == [True] * 4


def archive(points: torch.Tensor, examples: Examples, threat: Threat, broken: list[bool]) -> AdversarialArchive:
    return compact(examples, threat, points, torch.tensor(broken), lambda candidates, claimed: claimed)


def test_stored_results_are_compared_where_both_have_one_whatever_their_form() -> None:
    threat = Linf(0.2)
    examples = Examples(torch.arange(4), X, torch.zeros(4, dtype=torch.int64), classes=2)
    signs = torch.randn(X.shape, generator=torch.Generator().manual_seed(1)).sign()
    one = moved(0.2 * signs)
    other = moved(0.19 * signs)
    other[2] = 0.5 - 0.2 * signs[2]
    mine, theirs = (
        archive(one, examples, threat, [True, True, True, False]),
        archive(other, examples, threat, [False, True, True, True]),
    )
    assert alike(mine, theirs, examples, threat) == [1]
    exact = compact(
        examples, threat, other, torch.tensor([True] * 4), lambda candidates, claimed: torch.zeros(4, dtype=torch.bool)
    )
    assert exact.form.tolist() == [2] * 4
    assert alike(mine, exact, examples, threat) == [0, 1]
