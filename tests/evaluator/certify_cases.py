"""Small convolutional networks reduced to their unstable neurons, with points of the ball to hold bounds against."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from evaluator.certify.crown import network_bounds
from evaluator.certify.graph import Graph
from evaluator.certify.ibp import margin_rows
from evaluator.certify.inputs import InputSet, Norm
from evaluator.certify.reduced import Reduced, Rows, reduce_network
from evaluator.certify.tracing import trace

EPSILON: dict[Norm, float] = {"linf": 0.15, "l2": 0.3, "l1": 0.5}


@dataclass(frozen=True, eq=False)
class Case:
    """A small convolutional network at one input, reduced to its unstable neurons, and points of the ball (n, *shape)."""

    graph: Graph
    inputs: InputSet
    rows: Tensor
    network: Reduced
    margins: Rows
    points: Tensor

    def true_margins(self) -> Tensor:
        """(n, rivals): what the network itself answers at the points."""
        return self.graph.forward(self.points)[-1] @ self.rows[0].T


def case(seed: int, norm: Norm) -> Case:
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(16, 10), nn.ReLU(), nn.Linear(10, 3),
    ).eval().requires_grad_(False)  # fmt: skip
    graph, x = trace(net, (1, 5, 5)), torch.rand(1, 1, 5, 5, dtype=torch.float64)
    inputs = InputSet(x, EPSILON[norm], norm)
    rows = margin_rows(graph.forward(x)[-1].argmax(dim=1), 3, torch.float64)
    network, margins = reduce_network(graph, network_bounds(graph, inputs).relus, inputs, rows)
    noise = torch.randn(400, 1, 5, 5, dtype=torch.float64)
    size = inputs.dual(noise.flatten(1)) if norm == "l2" else noise.flatten(1).abs().sum(dim=1)
    moved = noise.sign() * torch.rand(400, 1, 1, 1) if norm == "linf" else noise / size.reshape(-1, 1, 1, 1)
    return Case(graph, inputs, rows, network, margins, (x + inputs.epsilon * moved).clamp(0, 1))


def run(network: Reduced, points: Tensor) -> tuple[Tensor, Tensor]:
    """z and r (n, u) of the reduced network's neurons at points (n, *shape)."""
    x = points.flatten(1)
    z, r = torch.zeros(len(x), len(network)).double(), torch.zeros(len(x), len(network)).double()
    for columns in network.layers:
        z[:, columns] = network.neurons[columns].at(x, r)
        r[:, columns] = z[:, columns].clamp_min(0)
    return z, r


def stable_at(network: Reduced, z: Tensor) -> Reduced:
    """The network with those neurons stable whose values z (n, u) all have one sign."""
    lower = torch.where(z.amin(dim=0) >= 0, 0.0, network.lower)
    return replace(network, lower=lower, upper=torch.where(z.amax(dim=0) <= 0, 0.0, network.upper))
