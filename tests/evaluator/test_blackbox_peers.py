"""Beside other implementations, on the same weights, images and number of queries."""

from __future__ import annotations

import pytest
import torch

from evaluator.access import ScoreOracle
from evaluator.attacks.square import Square
from evaluator.threats import L2, Linf, Threat
from tests.evaluator.blackbox import Counted
from tests.evaluator.support import sdp_images, sdp_model

SQUARES = [
    ("mnist", "mnist_cnn_a_adv", Linf(0.3)),
    ("cifar", "cifar_cnn_a_adv", Linf(2 / 255)),
    ("cifar", "cifar_cnn_a_adv", L2(0.25)),
]


@pytest.mark.parametrize(("data", "name", "threat"), SQUARES)
def test_square_leaves_no_more_standing_than_its_authors_code(data: str, name: str, threat: Threat) -> None:
    peers = pytest.importorskip("pyautoattack.square", reason="needs the bench extra")
    model, (x, y) = sdp_model(name), sdp_images(data)
    x, y = x[:30], y[:30]
    counted = Counted(model)
    ours = model(Square(queries=200)(ScoreOracle(counted), x, y, threat)).argmax(dim=1) == y
    norm = {"linf": "Linf", "l2": "L2"}[threat.kind]
    torch.manual_seed(0)
    peer = peers.SquareAttack(model, norm=norm, n_queries=200, eps=threat.epsilon, device="cpu")
    theirs = model(peer.perturb(x, y)).argmax(dim=1) == y
    assert counted.rows <= 200 * 30
    assert int(ours.sum()) <= int(theirs.sum()) + 1  # one image of 30: two random searches
