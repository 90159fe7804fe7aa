"""A twin of the calibration on what the repository ships: attacks meet what is proven from above, and never pass it."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor, nn

from evaluator.attacks.base import Batch
from evaluator.attacks.minimal_norm import within
from evaluator.attacks.registry import create
from evaluator.certify.ibp import ibp
from evaluator.draws import Draws
from evaluator.threats import Linf
from tests.evaluator.support import mnist_test, shipped

EPSILON = 0.3
ATTACKS: list[tuple[str, dict[str, object]]] = [
    ("pgd", {"steps": 20}),
    ("apgd", {"steps": 20}),
    ("apgd_t", {"steps": 10}),
    ("fab", {"stop_within": True, "steps": 20}),
    ("fmn", {"stop_within": True, "steps": 40}),
    ("odi", {"restarts": 2}),
    ("multi_targeted", {"steps": 10}),
    ("pcros", {"steps": 10}),
    ("quantized_gradient", {"steps": 20}),
    ("logit_difference", {"steps": 20}),
    ("daa", {"steps": 10, "particles": 2}),
    ("deepfool", {}),
    ("square", {"queries": 200}),
]


@functools.cache
def proven() -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """The shipped network that was trained with interval bounds, the images that it gets right, and which are proven."""
    network, (images, labels) = shipped("mnist-ibp"), mnist_test(60)
    right = network(images).argmax(dim=1) == labels
    x, y = images[right], labels[right]
    return network, x, y, ibp(network, x, y, epsilon=EPSILON, norm="linf").certified


@functools.cache
def fallen(place: int) -> Tensor:
    """(n,) bool: which images one attack of the table broke; points outside the threat do not count."""
    network, x, y, _ = proven()
    name, options = ATTACKS[place]
    attack, threat = create(name, **options), Linf(EPSILON)
    points = attack(network, x, y, threat, seed=0)
    fell = (network(points).argmax(dim=1) != y) & threat.contains(x, points)
    return fell & within(threat, Batch(x, y, Draws(0, torch.arange(len(x)))), points) if attack.minimal_norm else fell


@pytest.mark.parametrize("place", range(len(ATTACKS)), ids=[name for name, _ in ATTACKS])
@pytest.mark.xdist_group("shipped twin")
def test_no_attack_breaks_an_image_that_is_proven(place: int) -> None:
    _, _, _, certified = proven()
    assert int(certified.sum()) >= 20, "the test needs proofs"
    assert not bool((fallen(place) & certified).any())


@pytest.mark.xdist_group("shipped twin")
def test_all_attacks_together_break_whatever_is_not_proven() -> None:
    _, _, _, certified = proven()
    together = torch.stack([fallen(place) for place in range(len(ATTACKS))]).any(dim=0)
    assert bool(together.any())
    assert torch.equal(~together, certified)
