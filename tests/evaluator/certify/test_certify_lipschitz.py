"""Lipschitz margins: layer norms are never below the truth, and radii are never above it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from evaluator.attacks import PGD
from evaluator.certify.lipschitz import conv_norm, dense_norm, lipschitz
from evaluator.certify.orthogonal import AOLConv2d, AOLLinear, PairSort
from evaluator.defenses.architectures import build
from evaluator.errors import InputError
from evaluator.threats import L2


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "groups"),
    [(3, 1, 1, 1, 1), (4, 2, 1, 1, 1), (3, 2, 0, 1, 1), (3, 1, 2, 2, 1), (3, 1, 1, 1, 2), (5, 3, 2, 1, 1)],
)
def test_the_norm_of_a_convolution_is_never_below_its_exact_value_and_close_to_it(
    kernel: int, stride: int, padding: int, dilation: int, groups: int
) -> None:
    torch.manual_seed(kernel + stride)
    weight = torch.randn(4, 4 // groups, kernel, kernel, dtype=torch.float64)
    side = 14
    units = torch.eye(4 * side * side, dtype=torch.float64).reshape(-1, 4, side, side)
    matrix = functional.conv2d(units, weight, None, stride, padding, dilation, groups).flatten(1)
    exact = float(torch.linalg.matrix_norm(matrix, ord=2))
    bound = conv_norm(weight, (stride, stride), (dilation, dilation), groups)
    assert exact <= bound <= 1.25 * exact


def test_the_norm_of_a_dense_layer_is_exact_where_power_iteration_falls_short() -> None:
    weight = torch.diag(torch.tensor([1.0, 1.0 - 1e-6, 0.5]))
    assert 1.0 <= dense_norm(weight) <= 1.0 + 1e-6


def test_almost_orthogonal_layers_have_norm_at_most_one() -> None:
    torch.manual_seed(0)
    dense, conv = AOLLinear(20, 12), AOLConv2d(3, 6, 3, padding=1)
    with torch.no_grad():
        dense.weight.mul_(7).add_(torch.randn_like(dense.weight))
        conv.weight.mul_(5)
    assert dense_norm(dense.effective_weight().detach()) <= 1 + 1e-6
    units = torch.eye(3 * 64).reshape(-1, 3, 8, 8)
    matrix = functional.conv2d(units, conv.effective_weight().detach(), padding=1).flatten(1)
    assert float(torch.linalg.matrix_norm(matrix, ord=2)) <= 1 + 1e-6


def test_the_radius_of_a_linear_classifier_is_its_distance_to_the_boundary() -> None:
    torch.manual_seed(1)
    net, x = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval().requires_grad_(False), torch.rand(10, 1, 4, 4)
    logits, weight = net(x), net[1].weight
    y = logits.argmax(dim=1)
    found = lipschitz(net, x, y)
    for i in range(10):
        others = [j for j in range(3) if j != int(y[i])]
        exact = min(float((logits[i, y[i]] - logits[i, j]) / (weight[y[i]] - weight[j]).norm()) for j in others)
        assert found.radius[i] <= exact + 1e-6
        assert float(found.radius[i]) == pytest.approx(exact, abs=1e-3)
    in_linf = lipschitz(net, x, y, norm="linf")
    assert torch.allclose(in_linf.radius, found.radius / math.sqrt(16), rtol=1e-6)


def test_no_attack_succeeds_inside_a_lipschitz_radius() -> None:
    torch.manual_seed(2)
    net = nn.Sequential(
        AOLConv2d(1, 8, 3, padding=1), PairSort(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3, stride=2), nn.ReLU(), nn.Flatten(),
        AOLLinear(4, 8), PairSort(), nn.Linear(8, 3),
    ).eval().requires_grad_(False)  # fmt: skip
    x = torch.rand(30, 1, 8, 8)
    y = net(x).argmax(dim=1)
    found = lipschitz(net, x, y)
    assert int(found.certified.sum()) > 20
    for epsilon in found.radius[found.certified].quantile(torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)).tolist():
        inside = found.radius >= epsilon
        points = PGD(steps=30, restarts=2, loss="margin")(net, x[inside], y[inside], L2(epsilon))
        assert bool((net(points).argmax(dim=1) == y[inside]).all())


def test_a_wrong_label_has_radius_zero() -> None:
    net, x = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval(), torch.rand(5, 1, 2, 2)
    wrong = 1 - net(x).argmax(dim=1)
    assert float(lipschitz(net, x, wrong).radius.max()) == 0.0


def test_convolutions_too_wide_for_exact_norms_are_refused_at_once() -> None:
    wide = build("cifar-resnet18").eval()
    with pytest.raises(InputError, match="narrower convolutions"):
        lipschitz(wide, torch.zeros(0, 3, 32, 32), torch.zeros(0, dtype=torch.int64))
