"""Interval bound propagation: a box around every layer's values, in one forward pass.

Source: Gowal et al. 2018, "On the Effectiveness of Interval Bound Propagation"; Mirman et al. 2018. An affine layer maps
centre c and radius r to W c + b and |W| r; monotone layers map both ends. The margin Z_y - Z_j is bounded through the last
layer's weight difference (their section 3.1 "elision"), not from the two logits apart. The first affine layers are exact
for L2 and L1 balls too, through the dual norms of their rows.

All arithmetic is float64; `SLACK` covers its rounding, far below it, and `allowance` what float32 deployment may add.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.certify.agreement import rounding
from evaluator.certify.base import Certificates, Model, check_batch, labels
from evaluator.certify.graph import Graph
from evaluator.certify.inputs import InputSet, Norm
from evaluator.certify.ops import Add, Affine, Linear, MaxPool, Relu, size
from evaluator.certify.tracing import trace
from evaluator.errors import InputError

SLACK = 1e-9  # relative to the bound's own size; float64 rounding through these depths stays below 1e-12
MARGIN = 1e-5  # least margin of logits that counts, however small the network's rounding
HEADROOM = 8.0  # between rounding seen at x and rounding allowed for everywhere in its ball
_CHUNK = 1 << 22  # numbers per block of backward rows


@dataclass(frozen=True, eq=False)
class Bounds:
    """lower <= value <= upper, (n, *shape) each."""

    lower: Tensor
    upper: Tensor

    def intersect(self, other: Bounds) -> Bounds:
        """What both bounds say together."""
        return Bounds(torch.maximum(self.lower, other.lower), torch.minimum(self.upper, other.upper))


def interval_step(graph: Graph, node: int, known: dict[int, Bounds]) -> Bounds:
    """The interval of one node from those of its inputs."""
    op, sources = graph.nodes[node].op, [known[i] for i in graph.nodes[node].inputs]
    first = sources[0]
    match op:
        case Affine():
            centre, radius = op.forward((first.lower + first.upper) / 2), op.absolute((first.upper - first.lower) / 2)
            return Bounds(centre - radius, centre + radius)
        case Add():
            return Bounds(first.lower + sources[1].lower, first.upper + sources[1].upper)
        case Relu():
            return Bounds(first.lower.clamp_min(0), first.upper.clamp_min(0))
        case MaxPool():
            return Bounds(op.forward(first.lower), op.forward(first.upper))
    raise InputError(
        f'no interval bound is known for "{graph.nodes[node].name}" ({type(op).__name__}).',
        where="certificate",
        help='Use method = "lipschitz" for networks with sorting activations.',
    )


def affine_rows(graph: Graph, node: int, inputs: InputSet) -> Tensor:
    """(size of node,): the dual norm of each row of the affine map from the input to `node` (no nonlinearity before it)."""
    total = size(graph.shape(node))
    step = max(1, _CHUNK // max(size(op.op.shape) for op in graph.nodes[: node + 1]))
    norms = []
    for start in range(0, total, step):
        rows = torch.eye(total, dtype=inputs.x.dtype, device=inputs.x.device)[start : start + step]
        gathered: dict[int, Tensor] = {node: rows.reshape(1, len(rows), *graph.shape(node))}
        for i in range(node, 0, -1):
            a = gathered.pop(i, None)
            if a is None:
                continue
            op, sources = graph.nodes[i].op, graph.nodes[i].inputs
            for source in sources:
                part = op.transpose(a) if isinstance(op, Affine) else a
                gathered[source] = gathered[source] + part if source in gathered else part
        norms.append(inputs.dual(gathered[0].reshape(len(rows), -1)))
    return torch.cat(norms)


def first_layers(graph: Graph, inputs: InputSet) -> dict[int, Bounds]:
    """Bounds of every node that is affine in the input and feeds a nonlinearity, by dual norms (L2 and L1 balls)."""
    if inputs.norm == "linf":
        return {}
    affine = graph.affine_nodes()
    wanted = {i for node in graph.nodes for i in node.inputs if i in affine and isinstance(node.op, Relu | MaxPool)} - {0}
    values = graph.forward(inputs.x) if wanted else []
    found = {}
    for i in wanted:
        radius = (inputs.epsilon * affine_rows(graph, i, inputs)).reshape(graph.shape(i))
        found[i] = Bounds(values[i] - radius, values[i] + radius)
    return found


def propagate(graph: Graph, inputs: InputSet) -> dict[int, Bounds]:
    """Interval bounds of every node."""
    known = {0: Bounds(inputs.lower, inputs.upper)}
    exact = first_layers(graph, inputs)
    for node in range(1, len(graph)):
        known[node] = interval_step(graph, node, known)
        if node in exact:
            known[node] = known[node].intersect(exact[node])
    return known


def margin_rows(y: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """(n, K - 1, K): rows e_y - e_j for j != y, in the order of j."""
    eye = torch.eye(classes, dtype=dtype, device=y.device)
    others = torch.arange(classes - 1, device=y.device).expand(len(y), -1)
    return eye[y][:, None, :] - eye[others + (others >= y[:, None])]


def interval_margins(graph: Graph, known: dict[int, Bounds], y: Tensor) -> Tensor:
    """(n, K - 1): lower bounds of Z_y - Z_j."""
    last = graph.nodes[-1]
    rows = margin_rows(y, graph.shape(len(graph) - 1)[0], known[0].lower.dtype)
    if isinstance(last.op, Linear):
        source = known[last.inputs[0]]
        weight = rows @ last.op.weight
        bias = 0.0 if last.op.bias is None else rows @ last.op.bias
    else:
        source, weight, bias = known[len(graph) - 1], rows, 0.0
    centre, radius = (source.lower + source.upper) / 2, (source.upper - source.lower) / 2
    return (weight @ centre[:, :, None] - weight.abs() @ radius[:, :, None]).squeeze(2) + bias


def outward(bounds: Tensor) -> Tensor:
    """Lower bounds lowered by more than float64 rounding can have raised them."""
    return bounds - SLACK * (1 + bounds.abs())


def allowance(model: Model, graph: Graph, inputs: InputSet) -> Tensor:
    """(n,): how far a difference of logits may move because the model runs in its own dtype (float32); at least MARGIN.

    HEADROOM times what it moves at points of the set (`evaluator.certify.agreement`). Measured, not proved: worst-case error
    analysis gives bounds 10^5 times what is seen. It scales with the network, so weights blown up to drown a certificate in
    rounding make it harder to get instead. Infinite where an answer is not finite.
    """
    return (2 * HEADROOM * rounding(model, graph, inputs)).clamp_min(MARGIN)


def logits_shape(graph: Graph, y: Tensor) -> int:
    """K. Raises InputError unless the network returns (n, K) logits that cover the labels."""
    shape = graph.shape(len(graph) - 1)
    if len(shape) != 1 or (len(y) and int(y.max()) >= shape[0]) or shape[0] < 2:
        raise InputError(f"the network returns {shape} per example; logits (K,) that cover the labels are needed.")
    return shape[0]


def bit_certificates(
    method: str, inputs: InputSet, worst: Tensor, undecided: Tensor, seconds: float, details: dict[str, object]
) -> Certificates:
    """Certificates at one epsilon from the worst proved margin (n,) of each example, less its allowance for rounding."""
    certified = torch.isfinite(worst) & (worst > 0)
    return Certificates(
        method=method,
        norm=inputs.norm,
        radius=torch.where(certified, inputs.epsilon, 0.0).to(torch.float64),
        certified=certified,
        abstained=undecided & ~certified,
        samples=torch.zeros(len(inputs), dtype=torch.int64),
        seconds=seconds,
        details={"epsilon": inputs.epsilon, "margins": worst.tolist(), **details},
    )


def ibp(model: Model, x: Tensor, y: Tensor, *, epsilon: float, norm: Norm, batch: int = 64) -> Certificates:
    """Which examples keep label y for every input within `epsilon` in `norm` (and in [0, 1]), by interval bounds.

    x: (n, *shape) in [0, 1]; y: (n,) int64. Misclassified examples are not certified. Raises InputError for a layer
    without a known bound before any bound is computed.
    """
    started = time.perf_counter()
    check_batch(x, y)
    graph = trace(model, tuple(x.shape[1:]), pools=True)
    logits_shape(graph, y)
    inputs, y = InputSet(x.detach().cpu().double(), epsilon, norm), y.cpu()
    worst = torch.zeros(len(x), dtype=torch.float64)
    for start in range(0, len(x), batch):
        part = slice(start, start + batch)
        known = propagate(graph, inputs[part])
        worst[part] = outward(interval_margins(graph, known, y[part])).amin(dim=1)
    worst = worst - allowance(model, graph, inputs)
    with torch.no_grad():
        right = labels(graph.forward(inputs.x)[-1]) == y
    return bit_certificates("ibp", inputs, worst, right, time.perf_counter() - started, {})
