"""CROWN: linear relaxations propagated backward, from every unstable neuron and from the margins, with optimised slopes.

Intermediate bounds are the better of intervals and CROWN, so the result is never looser than interval bounds. With
`iterations` > 0 the lower slopes of the margins are optimised by Adam (alpha-CROWN), one per neuron and rival class. Any
slopes in [0, 1] are sound, so optimisation may stop anywhere. Sources: see `evaluator.certify.relaxation`.

All arithmetic is float64; see `evaluator.certify.ibp` for SLACK and the float32 allowance.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.adam import Adam
from evaluator.certify.base import Certificates, Model, check_batch, labels
from evaluator.certify.graph import Graph
from evaluator.certify.ibp import (
    Bounds,
    allowance,
    bit_certificates,
    first_layers,
    interval_margins,
    interval_step,
    logits_shape,
    margin_rows,
    outward,
)
from evaluator.certify.inputs import InputSet, Norm
from evaluator.certify.ops import Affine, Input, Relu, Reshape, Scale, size
from evaluator.certify.relaxation import Relaxation, adaptive_slope, backward_bound, check_relaxable
from evaluator.certify.tracing import trace

LEARNING_RATE = 0.1
_CHUNK = 1 << 24  # numbers held by one backward pass at the widest layer


@dataclass(frozen=True, eq=False)
class NetworkBounds:
    """Bounds of every node's values, and (in `relus`) those of each ReLU's input keyed by the ReLU's position."""

    nodes: dict[int, Bounds]
    relus: dict[int, Bounds]

    def select(self, keep: Tensor | slice) -> NetworkBounds:
        """The bounds of a part of the examples."""
        nodes = {i: Bounds(b.lower[keep], b.upper[keep]) for i, b in self.nodes.items()}
        return NetworkBounds(nodes, {i: Bounds(b.lower[keep], b.upper[keep]) for i, b in self.relus.items()})


@dataclass(frozen=True, eq=False)
class Optimized:
    """Best lower bounds found (n, specs) and, per ReLU node, the slopes (n, specs, *shape) that gave them."""

    lower: Tensor
    slopes: dict[int, Tensor]


def ancestors(graph: Graph, node: int) -> set[int]:
    """Every node that `node` depends on, itself included."""
    found, open_ = {node}, [node]
    while open_:
        for source in graph.nodes[open_.pop()].inputs:
            if source not in found:
                found.add(source)
                open_.append(source)
    return found


def optimized_bound(
    graph: Graph, node: int, rows: Tensor, inputs: InputSet, relus: dict[int, Bounds], iterations: int
) -> Optimized:
    """Lower bounds of rows . value(node), the best over `iterations` steps of Adam on a slope per neuron and row."""
    before = ancestors(graph, node)
    used = [i for i in graph.relus() if i in before]
    specs = rows.shape[1]
    slopes = {
        i: adaptive_slope(relus[i]).unsqueeze(1).expand(-1, specs, *graph.shape(i)).clone().requires_grad_(iterations > 0)
        for i in used
    }
    if not iterations or not used:
        return Optimized(backward_bound(graph, node, rows, inputs, Relaxation(relus, slopes)), slopes)
    optimizer = Adam(slopes.values(), LEARNING_RATE)
    best: Tensor | None = None
    best_slopes = {i: slope.detach().clone() for i, slope in slopes.items()}
    for step in range(iterations + 1):
        with torch.enable_grad():
            lower = backward_bound(graph, node, rows, inputs, Relaxation(relus, slopes))
            found = lower.detach()
            better = torch.ones_like(found, dtype=torch.bool) if best is None else found > best
            best = found if best is None else torch.maximum(best, found)
            for i, slope in slopes.items():
                mask = better.reshape(*better.shape, *[1] * (slope.dim() - 2))
                best_slopes[i] = torch.where(mask, slope.detach(), best_slopes[i])
            if step == iterations:
                break
            optimizer.zero_grad()
            (-lower.sum()).backward()
        optimizer.step()
        optimizer.rate *= 0.98
        with torch.no_grad():
            for slope in slopes.values():
                slope.clamp_(0, 1)
    assert best is not None
    return Optimized(best, best_slopes)


def pull_back(graph: Graph, node: int, rows: Tensor) -> tuple[int, Tensor, Tensor]:
    """Rows of a node as rows of the last node before it that is not affine, and the constant (specs,) that adds.

    Shared by all examples: only what lies before that node depends on an example's relaxation.
    """
    constant: Tensor = torch.zeros(rows.shape[1], dtype=rows.dtype)
    op = graph.nodes[node].op
    while isinstance(op, Affine):
        shift = op.shift()
        if shift is not None:
            constant = constant + (rows * shift).flatten(2).sum(dim=2)[0]
        rows, node = op.transpose(rows), graph.nodes[node].inputs[0]
        op = graph.nodes[node].op
    return node, rows, constant


def refine(graph: Graph, node: int, box: Bounds, inputs: InputSet, relus: dict[int, Bounds]) -> Bounds:
    """Tightens the interval `box` of a node's values where it straddles 0: the rest needs no relaxation.

    Neurons that are unstable in some example go back together to the last nonlinearity; from there each example follows
    its own unstable ones alone.
    """
    low, high = box.lower.flatten(1).clone(), box.upper.flatten(1).clone()
    widest, total = max(size(entry.op.shape) for entry in graph.nodes[: node + 1]), low.shape[1]
    straddles = (low < 0) & (high > 0)
    unstable = straddles.any(dim=0).nonzero().squeeze(1)
    if not len(unstable):
        return box
    for chosen in unstable.split(max(1, _CHUNK // (widest * len(inputs)))):
        units = torch.zeros(1, len(chosen), total, dtype=low.dtype)
        units[0, torch.arange(len(chosen)), chosen] = 1.0
        source, rows, constant = pull_back(graph, node, units.reshape(1, len(chosen), *graph.shape(node)))
        most = int(straddles[:, chosen].sum(dim=1).max())
        own = straddles[:, chosen].to(torch.int8).topk(most, dim=1).indices  # filled up with neurons that are stable
        rows = rows[0][own]
        found = outward(backward_bound(graph, source, torch.cat([rows, -rows], dim=1), inputs, Relaxation(relus)))
        lower, upper = outward(found[:, :most] + constant[own]), outward(found[:, most:] - constant[own])
        columns = chosen[own]
        low.scatter_(1, columns, torch.maximum(low.gather(1, columns), lower))
        high.scatter_(1, columns, torch.minimum(high.gather(1, columns), -upper))
    return Bounds(low.reshape(box.lower.shape), high.reshape(box.upper.shape))


def network_bounds(graph: Graph, inputs: InputSet) -> NetworkBounds:
    """Bounds of every node for a batch of input sets; each layer's bounds use the tightened ones before it."""
    nodes = {0: Bounds(inputs.lower, inputs.upper)}
    relus: dict[int, Bounds] = {}
    affine, exact = graph.affine_nodes(), first_layers(graph, inputs)
    feeds = {entry.inputs[0] for entry in graph.nodes if isinstance(entry.op, Relu)}
    for i in range(1, len(graph)):
        nodes[i] = interval_step(graph, i, nodes)
        if i in exact:
            nodes[i] = nodes[i].intersect(exact[i])
        elif i in feeds and not (i in affine and _elementwise_until(graph, i)):
            nodes[i] = refine(graph, i, nodes[i], inputs, relus)
        if isinstance(graph.nodes[i].op, Relu):
            relus[i] = nodes[graph.nodes[i].inputs[0]]
    return NetworkBounds(nodes, relus)


def _elementwise_until(graph: Graph, node: int) -> bool:
    """Whether only scaling and reshaping precede this affine node, so that its interval over a box is exact already."""
    return all(isinstance(graph.nodes[i].op, Input | Scale | Reshape) for i in ancestors(graph, node) - {node})


def crown_margins(
    graph: Graph, inputs: InputSet, y: Tensor, bounds: NetworkBounds, *, iterations: int = 0
) -> tuple[Tensor, dict[int, Tensor]]:
    """(n, K - 1) lower bounds of Z_y - Z_j (never below the interval ones), and the slopes that gave them."""
    rows = margin_rows(y, graph.shape(len(graph) - 1)[0], inputs.x.dtype)
    found = optimized_bound(graph, len(graph) - 1, rows, inputs, bounds.relus, iterations)
    return torch.maximum(found.lower, interval_margins(graph, bounds.nodes, y)), found.slopes


def crown(
    model: Model, x: Tensor, y: Tensor, *, epsilon: float, norm: Norm, iterations: int = 20, batch: int = 16
) -> Certificates:
    """Which examples keep label y for every input within `epsilon` in `norm` (and in [0, 1]), by linear relaxation.

    iterations: steps of slope optimisation (0 is plain CROWN with the adaptive slope). batch: examples bounded together.
    Raises InputError for a layer without a relaxation before any bound is computed.
    """
    started = time.perf_counter()
    check_batch(x, y)
    graph = trace(model, tuple(x.shape[1:]))
    check_relaxable(graph)
    logits_shape(graph, y)
    inputs, y = InputSet(x.detach().cpu().double(), epsilon, norm), y.cpu()
    with torch.no_grad():
        right = labels(graph.forward(inputs.x)[-1]) == y
    worst = torch.full((len(x),), -torch.inf, dtype=torch.float64)
    todo = right.nonzero().squeeze(1)
    for start in range(0, len(todo), batch):
        part = todo[start : start + batch]
        bounds = network_bounds(graph, inputs[part])
        margins, _ = crown_margins(graph, inputs[part], y[part], bounds, iterations=iterations)
        worst[part] = outward(margins).amin(dim=1)
    worst = worst - allowance(model, graph, inputs)
    return bit_certificates("crown", inputs, worst, right, time.perf_counter() - started, {"iterations": iterations})
