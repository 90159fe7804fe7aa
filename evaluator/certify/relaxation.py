"""The backward pass of linear relaxations: a lower bound of any linear function of any node, as a function of the input.

An unstable ReLU y = max(z, 0) with l < z < u lies between two lines: y <= u (z - l) / (u - l), and y >= slope * z for any
slope in [0, 1]. Going backward from rows A of a node, a positive coefficient takes the lower line and a negative one the
upper. Affine layers act by their transpose. What reaches the input is minimised over the input set exactly.
Sources: Zhang et al. 2018 (CROWN); Singh et al. 2019 (DeepPoly); Xu et al. 2021 ("Fast and Complete", slopes optimised by
gradient).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from evaluator.certify.graph import Graph
from evaluator.certify.ibp import Bounds
from evaluator.certify.inputs import InputSet
from evaluator.certify.ops import Add, Affine, Input, Relu
from evaluator.errors import InputError


@dataclass(frozen=True, eq=False)
class Relaxation:
    """One linear relaxation of the network on a batch of input sets.

    bounds: for the input of each ReLU node (keyed by the ReLU's position), (n, *shape). slopes: lower slopes per ReLU
    node, broadcastable to (n, specs, *shape), within [0, 1]; absent nodes take the adaptive slope (1 where u > -l).
    """

    bounds: dict[int, Bounds]
    slopes: dict[int, Tensor] = field(default_factory=dict)


def adaptive_slope(bounds: Bounds) -> Tensor:
    """The slope of least area: 1 where u > -l, else 0."""
    return (bounds.upper > -bounds.lower).to(bounds.lower.dtype)


def backward_bound(graph: Graph, node: int, rows: Tensor, inputs: InputSet, relaxation: Relaxation) -> Tensor:
    """(n, specs): lower bounds of rows . value(node) over the input set. rows: (n or 1, specs, *shape of node)."""
    gathered: dict[int, Tensor] = {node: rows}
    constant: Tensor = torch.zeros((), dtype=rows.dtype)
    for i in range(node, 0, -1):
        a = gathered.pop(i, None)
        if a is None:
            continue
        op, sources = graph.nodes[i].op, graph.nodes[i].inputs
        match op:
            case Affine():
                shift = op.shift()
                if shift is not None:
                    constant = constant + (a * shift).flatten(2).sum(dim=2)
                parts = [op.transpose(a)]
            case Add():
                parts = [a, a]
            case Relu():
                part, offset = _through_relu(a, relaxation, i)
                constant = constant + offset
                parts = [part]
            case _:
                raise InputError(
                    f'no linear relaxation is known for "{graph.nodes[i].name}" ({type(op).__name__}).', where="certificate"
                )
        for source, part in zip(sources, parts, strict=True):
            gathered[source] = gathered[source] + part if source in gathered else part
    if 0 in gathered:
        constant = constant + inputs.minimum(gathered[0])
    return constant


def _through_relu(a: Tensor, relaxation: Relaxation, node: int) -> tuple[Tensor, Tensor]:
    """Rows at the ReLU's input and the constant (n, specs) that its upper lines add."""
    bounds = relaxation.bounds[node]
    low, high = bounds.lower.unsqueeze(1), bounds.upper.unsqueeze(1)
    active, unstable = (low >= 0).to(a.dtype), (low < 0) & (high > 0)
    width = torch.where(unstable, high - low, 1.0)
    upper = torch.where(unstable, high / width, active)
    slope = relaxation.slopes.get(node)
    lower = torch.where(unstable, adaptive_slope(bounds).unsqueeze(1) if slope is None else slope, active)
    negative = a.clamp_max(0)
    offset = (negative * torch.where(unstable, -upper * low, 0.0)).flatten(2).sum(dim=2)
    return a.clamp_min(0) * lower + negative * upper, offset


def check_relaxable(graph: Graph) -> None:
    """Raises InputError, before any compute, unless every node has a linear relaxation."""
    for node in graph.nodes:
        if not isinstance(node.op, Input | Affine | Add | Relu):
            raise InputError(
                f'no linear relaxation is known for "{node.name}" ({type(node.op).__name__}).',
                where="certificate",
                help='Use method = "lipschitz" for networks with sorting activations.',
            )
