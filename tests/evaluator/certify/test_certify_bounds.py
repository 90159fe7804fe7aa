"""Interval bounds, linear relaxations and complete verification: contained in one another, and never wrong."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluator.attacks import PGD
from evaluator.certify.crown import crown, crown_margins, network_bounds
from evaluator.certify.ibp import allowance, ibp, interval_margins, propagate
from evaluator.certify.inputs import InputSet
from evaluator.certify.milp import milp_verify
from evaluator.certify.tracing import trace
from evaluator.defenses.architectures import build
from evaluator.errors import InputError
from evaluator.threats import L2, Linf
from tests.evaluator.support import network_and_images, subjects

NORMS = ("linf", "l2", "l1")


class Zoo(nn.Module):
    """Every supported layer in one small network: normalisation, residual, batch norm, both poolings, reshaping."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.register_buffer("mean", torch.tensor([0.4, 0.6]).reshape(1, 2, 1, 1))
        self.first, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.inner, self.pool = nn.Conv2d(4, 4, 3, stride=1, padding=1, groups=2, bias=False), nn.MaxPool2d(2)
        self.strided, self.average = nn.Conv2d(4, 4, 2, stride=2, dilation=1), nn.AvgPool2d(2, stride=1, padding=0)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 3))
        self.norm.running_mean.uniform_(-0.3, 0.3)
        self.norm.running_var.uniform_(0.5, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.relu(self.norm(self.first((x - self.mean) / 0.5)))
        z = functional.relu(z + self.inner(z))
        z = self.average(functional.relu(self.strided(self.pool(z))))
        return self.head(z.view(z.size(0), -1)) * 2.0 - 1


def dense(seed: int, *widths: int) -> nn.Module:
    """A fully connected ReLU network."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval().requires_grad_(False)


def points_inside(x: Tensor, epsilon: float, norm: str, count: int) -> Tensor:
    """(count, *shape) random points of the ball around one x, clipped to the box, many of them at its boundary."""
    noise = torch.randn(count, x.numel(), dtype=x.dtype)
    if norm == "linf":
        noise = noise.sign() * torch.rand(count, 1, dtype=x.dtype).sqrt()
    elif norm == "l2":
        noise = noise / noise.norm(dim=1, keepdim=True)
    else:
        noise = torch.zeros_like(noise).scatter_(1, torch.randint(x.numel(), (count, 1)), noise.sign()[:, :1])
    return (x + epsilon * noise.reshape(count, *x.shape)).clamp(0, 1)


def test_the_traced_graph_computes_what_the_network_computes() -> None:
    net, x = Zoo(0).eval(), torch.rand(5, 2, 8, 8)
    for pools in (True, False):
        graph = trace(net, (2, 8, 8), pools=pools)
        assert torch.allclose(graph.forward(x.double())[-1].float(), net(x), atol=1e-5)
    cnn = build("trades-smallcnn").eval()
    images = torch.rand(2, 1, 28, 28)
    assert torch.allclose(trace(cnn, (1, 28, 28)).forward(images.double())[-1].float(), cnn(images), atol=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_every_reachable_value_lies_inside_crown_bounds_and_those_inside_intervals(norm: str) -> None:
    epsilon = {"linf": 0.03, "l2": 0.2, "l1": 0.4}[norm]
    for seed in range(2):
        net, x = Zoo(seed).eval(), torch.rand(3, 2, 8, 8)
        y = net(x).argmax(dim=1)
        inputs = InputSet(x.double(), epsilon, norm)  # type: ignore[arg-type]
        wide = trace(net, (2, 8, 8))
        intervals = propagate(wide, inputs)
        tight = network_bounds(wide, inputs)
        margins, _ = crown_margins(wide, inputs, y, tight, iterations=3)
        loose = interval_margins(wide, intervals, y)
        pooled = trace(net, (2, 8, 8), pools=True)
        assert (margins >= loose - 1e-9).all()
        assert (margins >= interval_margins(pooled, propagate(pooled, inputs), y) - 10).all()
        for i in range(3):
            inside = points_inside(x[i].double(), epsilon, norm, 200)
            values = wide.forward(inside)
            for node, bounds in tight.nodes.items():
                assert (values[node] >= bounds.lower[i] - 1e-9).all()
                assert (values[node] <= bounds.upper[i] + 1e-9).all()
                assert (bounds.lower[i] >= intervals[node].lower[i] - 1e-9).all()
            logits = values[-1]
            gaps = logits[:, [int(y[i])]] - logits[:, [j for j in range(3) if j != int(y[i])]]
            assert (gaps >= margins[i] - 1e-9).all()


def test_optimised_slopes_only_tighten() -> None:
    net, x = dense(3, 6, 20, 20, 4), torch.rand(8, 6)
    y = net(x).argmax(dim=1)
    graph, inputs = trace(net, (6,)), InputSet(x.double(), 0.1, "linf")
    bounds = network_bounds(graph, inputs)
    plain, _ = crown_margins(graph, inputs, y, bounds)
    tuned, slopes = crown_margins(graph, inputs, y, bounds, iterations=20)
    assert (tuned >= plain - 1e-9).all()
    assert bool((tuned > plain + 1e-3).any())
    assert all(bool(((s >= 0) & (s <= 1)).all()) for s in slopes.values())


def test_intervals_contain_crown_and_crown_contains_the_exact_minimum() -> None:
    for seed in range(6):
        net, x = dense(seed, 4, 12, 12, 3), torch.rand(2, 4)
        y = net(x).argmax(dim=1)
        loose = torch.tensor(ibp(net, x, y, epsilon=0.15, norm="linf").details["margins"])
        relaxed = torch.tensor(crown(net, x, y, epsilon=0.15, norm="linf").details["margins"])
        exact = milp_verify(net, x, y, epsilon=0.15)
        witness = set(exact.details["witness"])
        assert not exact.abstained.any()
        assert (relaxed >= loose - 1e-9).all()
        for i in range(2):
            assert bool(exact.certified[i]) is (i not in witness)
            assert not (float(relaxed[i]) > 1e-4 and i in witness)
            if i not in witness:
                assert float(relaxed[i]) <= exact.details["margins"][i] + 2e-4  # less its tolerance


def test_complete_verification_agrees_with_brute_force_on_two_dimensional_nets() -> None:
    axis = torch.linspace(-1, 1, 201)
    grid = torch.cartesian_prod(axis, axis)
    for seed in range(5):
        net, x = dense(seed, 2, 10, 10, 2), torch.rand(4, 2)
        y = net(x).argmax(dim=1)
        found = milp_verify(net, x, y, epsilon=0.25)
        for i in range(4):
            logits = net((x[i] + 0.25 * grid).clamp(0, 1))
            least = float((logits[:, y[i]] - logits[:, 1 - y[i]]).min())
            if least <= 0:
                assert not found.certified[i]
            if found.certified[i]:
                assert least > 0
                assert found.details["margins"][i] <= least + 1e-4
            else:
                point = found.details["witness"][i].float()
                assert float((point - x[i]).abs().max()) <= 0.25 + 1e-6
                assert least < 0.05


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_certified_example_falls_to_an_attack_inside_its_radius(norm: str) -> None:
    threat = Linf(0.02) if norm == "linf" else L2(0.1)
    certified = 0
    for seed in range(2):
        net, x = Zoo(seed).eval(), torch.rand(10, 2, 8, 8)
        y = net(x).argmax(dim=1)
        for found in (
            ibp(net, x, y, epsilon=threat.epsilon, norm=norm),  # type: ignore[arg-type]
            crown(net, x, y, epsilon=threat.epsilon, norm=norm, iterations=2),  # type: ignore[arg-type]
        ):
            points = PGD(steps=30, restarts=3, loss="margin")(net, x, y, threat)
            survives = net(points).argmax(dim=1) == y
            assert bool(survives[found.certified].all())
            certified += int(found.certified.sum())
    assert certified > 5


@subjects("mnist-ibp", "cifar_cnn_a_adv")
def test_crown_certifies_images_and_never_one_an_attack_breaks(subject: str) -> None:
    (net, x, y), epsilon = network_and_images(subject, 4), 0.03 if subject == "mnist-ibp" else 2 / 255
    found = crown(net, x, y, epsilon=epsilon, norm="linf", iterations=0, batch=1)
    survives = net(PGD(steps=20, loss="margin")(net, x, y, Linf(epsilon))).argmax(dim=1) == y
    assert bool(survives[found.certified].all())
    assert int(found.certified.sum()) >= 1


def test_a_misclassified_example_is_never_certified() -> None:
    net, x = dense(0, 4, 8, 3), torch.rand(6, 4)
    wrong = (net(x).argmax(dim=1) + 1) % 3
    for found in (
        ibp(net, x, wrong, epsilon=1e-6, norm="linf"),
        crown(net, x, wrong, epsilon=1e-6, norm="linf"),
        milp_verify(net, x, wrong, epsilon=1e-6),
    ):
        assert not found.certified.any()


@subjects("mnist-pgd", "mnist-ibp", "mnist_cnn_a_adv", "cifar_cnn_a_adv", "cifar_cnn_a_mix")
def test_running_a_network_in_float32_moves_logits_by_less_than_the_allowance_all_over_the_ball(subject: str) -> None:
    net, x, _ = network_and_images(subject, 50)
    graph = trace(net, tuple(x.shape[1:]))
    granted = allowance(net, graph, InputSet(x.double(), 0.3, "linf"))
    for scale in (0.0, 0.03, 0.3):
        moved = (x + scale * torch.randn(x.shape).sign()).clamp(0, 1)
        deviation = (graph.forward(moved.double())[-1] - net(moved).double()).abs().amax(dim=1)
        assert bool((2 * deviation < granted).all())
    assert float(granted.max()) < 1e-3


def test_an_unknown_layer_is_named_before_any_compute() -> None:
    class Custom(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(x)

    net = nn.Sequential(nn.Linear(4, 4), Custom(), nn.Linear(4, 2)).eval()
    for method in (ibp, crown):
        with pytest.raises(InputError, match=r"sigmoid.*Supported: Linear, Conv2d, ReLU"):
            method(net, torch.rand(2, 4), torch.tensor([0, 1]), epsilon=0.1, norm="linf")
    layered = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 2)).eval()
    with pytest.raises(InputError, match="GELU"):
        ibp(layered, torch.rand(2, 4), torch.tensor([0, 1]), epsilon=0.1, norm="linf")


def test_a_forward_that_depends_on_its_input_is_refused() -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(InputError, match="cannot be followed"):
        trace(Branching().eval(), (4,))
    with pytest.raises(InputError, match="black box"):
        trace(lambda x: x, (4,))
    with pytest.raises(InputError, match="training mode"):
        trace(nn.Linear(2, 2), (2,))
