"""Beside other implementations, on the same weights, images and number of queries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from evaluator.attacks.boundary import Boundary
from evaluator.attacks.hopskipjump import HopSkipJump
from evaluator.attacks.square import Square
from evaluator.attacks.zoo import ZOO
from evaluator.threats import L2, Linf, Threat
from tests.evaluator.blackbox import Counted, ScoresOnly
from tests.evaluator.support import network_and_images, subjects
from tests.needs import PEERS

SUBJECTS = ("mnist-pgd", "mnist_cnn_a_adv")
BUDGETS: dict[str, list[Threat]] = {"mnist": [Linf(0.3), L2(2.0)], "cifar": [Linf(2 / 255), L2(0.25)]}


@subjects(*SUBJECTS, "cifar_cnn_a_adv")
@pytest.mark.parametrize("place", [0, 1], ids=["linf", "l2"])
def test_square_leaves_no_more_standing_than_its_authors_code(subject: str, place: int) -> None:
    peers = pytest.importorskip("pyautoattack.square", reason=PEERS.reason)
    model, x, y = network_and_images(subject, 30)
    threat = BUDGETS[subject[:5].rstrip("-_")][place]
    counted = Counted(model)
    ours = model(Square(queries=200)(ScoresOnly(counted), x, y, threat)).argmax(dim=1) == y
    norm = {"linf": "Linf", "l2": "L2"}[threat.kind]
    torch.manual_seed(0)
    peer = peers.SquareAttack(model, norm=norm, n_queries=200, eps=threat.epsilon, device="cpu")
    theirs = model(peer.perturb(x, y)).argmax(dim=1) == y
    assert counted.rows <= 200 * 30
    assert int(ours.sum()) <= int(theirs.sum()) + 1  # one image of 30: two random searches


def foolbox_model(counted: Counted) -> Any:
    foolbox = pytest.importorskip("foolbox", reason=PEERS.reason)

    class Asked(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return counted(x)

    return foolbox.PyTorchModel(Asked().eval(), bounds=(0, 1), device="cpu")


def art_classifier(counted: Counted, shape: tuple[int, ...]) -> Any:
    estimators = pytest.importorskip("art.estimators.classification", reason=PEERS.reason)

    def predict(images: Any) -> Any:
        with torch.no_grad():
            return counted(torch.as_tensor(images, dtype=torch.float32).clamp(0, 1)).numpy()

    return estimators.BlackBoxClassifier(predict, shape, 10, clip_values=(0, 1))


def few_images(subject: str, count: int) -> tuple[torch.nn.Module, Tensor, Tensor]:
    model, x, y = network_and_images(subject)
    right = (model(x).argmax(dim=1) == y).nonzero().squeeze(1)[:count]
    return model, x[right], y[right]


def distances(x: Tensor, points: Tensor) -> Tensor:
    return L2(1.0).distance(x, points)


@subjects(*SUBJECTS)
def test_hopskipjump_comes_as_near_as_foolboxs_at_no_more_queries(subject: str) -> None:
    model, x, y = few_images(subject, 8)
    counted = Counted(model)
    peers = pytest.importorskip("foolbox.attacks", reason=PEERS.reason)
    torch.manual_seed(0)
    peer = peers.HopSkipJumpAttack(steps=6, initial_gradient_eval_steps=100, max_gradient_eval_steps=1000)
    _, theirs, _ = peer(foolbox_model(counted), x, y, epsilons=None)
    ours = HopSkipJump(queries=counted.rows // len(x))(model, x, y, L2(1.0))
    assert float(distances(x, ours).mean()) <= 1.05 * float(distances(x, theirs).mean())


@subjects(*SUBJECTS)
def test_hopskipjump_comes_as_near_as_arts_at_no_more_queries(subject: str) -> None:
    model, x, y = few_images(subject, 5)
    counted = Counted(model)
    attacks = pytest.importorskip("art.attacks.evasion", reason=PEERS.reason)
    np.random.seed(0)
    peer = attacks.HopSkipJump(
        art_classifier(counted, (1, 28, 28)), norm=2, max_iter=5, init_eval=100, max_eval=1000, verbose=False, batch_size=256
    )
    theirs = torch.from_numpy(peer.generate(x.numpy(), y=np.eye(10)[y.numpy()]))
    ours = HopSkipJump(queries=counted.rows // len(x))(model, x, y, L2(1.0))
    assert float(distances(x, ours).mean()) <= 1.05 * float(distances(x, theirs).mean())


@subjects(*SUBJECTS)
def test_the_boundary_attack_comes_as_near_as_foolboxs_at_no_more_queries(subject: str) -> None:
    model, x, y = few_images(subject, 8)
    counted = Counted(model)
    peers = pytest.importorskip("foolbox.attacks", reason=PEERS.reason)
    torch.manual_seed(0)
    _, theirs, _ = peers.BoundaryAttack(steps=600)(foolbox_model(counted), x, y, epsilons=None)
    ours = Boundary(queries=counted.rows // len(x))(model, x, y, L2(1.0))
    assert float(distances(x, ours).mean()) <= float(distances(x, theirs).mean())


@subjects(*SUBJECTS)
def test_zoo_breaks_as_many_as_arts_at_no_more_queries_and_with_less(subject: str) -> None:
    model, x, y = few_images(subject, 3)
    counted = Counted(model)
    attacks = pytest.importorskip("art.attacks.evasion", reason=PEERS.reason)
    np.random.seed(0)
    peer = attacks.ZooAttack(
        art_classifier(counted, (1, 28, 28)), learning_rate=0.1, max_iter=15, binary_search_steps=2, initial_const=10.0,
        abort_early=False, use_resize=False, use_importance=False, nb_parallel=128, variable_h=1e-3, batch_size=1,
        verbose=False,
    )  # fmt: skip
    theirs = torch.from_numpy(peer.generate(x.numpy(), y=np.eye(10)[y.numpy()]))
    ours = ZOO(queries=counted.rows // len(x))(model, x, y, L2(1.0))
    fell, peers_fell = (model(points).argmax(dim=1) != y for points in (ours, theirs))
    assert int(fell.sum()) >= int(peers_fell.sum())
    both = fell & peers_fell
    if bool(both.any()):
        assert float(distances(x, ours)[both].mean()) <= float(distances(x, theirs)[both].mean())


@subjects(*SUBJECTS)
def test_square_leaves_no_more_standing_than_torchattacks(subject: str) -> None:
    peers = pytest.importorskip("torchattacks", reason=PEERS.reason)
    model, x, y = few_images(subject, 30)
    points = Square(queries=150)(model, x, y, Linf(0.3))
    theirs = peers.Square(model, norm="Linf", eps=0.3, n_queries=150, seed=0)(x, y)
    ours_left, theirs_left = (int((model(z).argmax(dim=1) == y).sum()) for z in (points, theirs))
    assert ours_left <= theirs_left + 1
