"""Complete verification of small ReLU networks by mixed-integer linear programming.

Every node is a block of variables. Affine nodes are equalities. A stable ReLU is an equality or zero. An unstable one,
z in [l, u], y = max(z, 0), gets one binary a:  y >= z, y >= 0, y <= u a, y <= z - l (1 - a).  Bounds come from CROWN,
which makes most neurons stable and the rest tight. The margin of each rival class is minimised. An attack's point is the
incumbent: its margin caps the objective, so the search need only look below it. Source: Tjeng, Xiao and Tedrake 2019,
"Evaluating Robustness of Neural Networks with Mixed Integer Programming". Solver: HiGHS through scipy.

HiGHS works in float64 with feasibility tolerance 1e-6; a margin counts as proved from TOLERANCE upwards.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.optimize import Bounds as Box
from scipy.optimize import LinearConstraint, milp
from torch import Tensor

from evaluator.certify.base import Certificates, Model, check_batch
from evaluator.certify.binomial import Array, Counts
from evaluator.certify.crown import NetworkBounds, crown_margins, network_bounds
from evaluator.certify.graph import Graph
from evaluator.certify.ibp import allowance, bit_certificates, logits_shape, margin_rows, outward
from evaluator.certify.inputs import InputSet, Norm
from evaluator.certify.ops import Add, Affine, Relu, size
from evaluator.certify.relaxation import check_relaxable
from evaluator.certify.tracing import trace
from evaluator.errors import InputError

TOLERANCE = 1e-4
MOST_VARIABLES = 20_000
MOST_NODES = 1000  # of the search tree for one rival class: work, not time, so that proofs can be repeated
PATIENCE = 1800.0  # seconds for one rival class, beyond which the request fails as a whole and certifies nothing


@dataclass(frozen=True, eq=False)
class Program:
    """One example's network as constraints: variables are the values of all nodes, then the binaries.

    constraint: rows lower <= A v <= upper; box: bounds of the variables; binary: (variables,) 0/1; logits: positions of
    the logits among the variables.
    """

    constraint: LinearConstraint
    box: Box
    binary: Counts
    logits: slice


def affine_matrix(op: Affine, source: tuple[int, ...]) -> sparse.csr_matrix:
    """The matrix of an affine node, read off its action on unit vectors."""
    total = size(source)
    columns = []
    for start in range(0, total, 512):
        units = torch.eye(total, dtype=torch.float64)[start : start + 512]
        columns.append(sparse.csr_matrix(op.linear(units.reshape(-1, *source)).flatten(1).numpy()))
    return sparse.csr_matrix(sparse.vstack(columns).T)


def check_encodable(graph: Graph) -> None:
    """Raises InputError, before any compute, for a layer without an exact encoding or a network that is too large for it.

    Counted are the values of all nodes, each a variable; unstable neurons add theirs when an example's bounds are known.
    """
    check_relaxable(graph)
    _refuse_beyond(sum(size(node.op.shape) for node in graph.nodes))


def _refuse_beyond(variables: int) -> None:
    if variables > MOST_VARIABLES:
        what = f"the network needs {variables:,} variables; MILP is for at most {MOST_VARIABLES:,}."
        raise InputError(what, where="certificate.method", help='Use method = "bab" or "crown".')


def build_program(graph: Graph, bounds: NetworkBounds) -> Program:
    """The program of a single example (bounds with a batch of one)."""
    low = [bounds.nodes[i].lower.reshape(-1).numpy() for i in range(len(graph))]
    high = [bounds.nodes[i].upper.reshape(-1).numpy() for i in range(len(graph))]
    ends = np.cumsum([len(values) for values in low])
    begins = ends - [len(values) for values in low]
    unstable = {i: np.flatnonzero((low[s] < 0) & (high[s] > 0)) for i in graph.relus() for s in graph.nodes[i].inputs}
    binaries = sum(len(rows) for rows in unstable.values())
    total = int(ends[-1]) + binaries
    _refuse_beyond(total)
    rows: list[Any] = []
    least: list[Array] = []
    most: list[Array] = []

    def require(parts: Sequence[tuple[int, Any]], lower: Array, upper: Array) -> None:
        height = len(lower)
        blocks = [
            sparse.coo_matrix((part.data, (part.row, part.col + at)), shape=(height, total))
            for at, part in ((at, sparse.coo_matrix(part)) for at, part in parts)
        ]
        rows.append(sparse.coo_matrix(sum(blocks[1:], blocks[0])))
        least.append(lower)
        most.append(upper)

    next_binary = int(ends[-1])
    for i, node in enumerate(graph.nodes):
        here = int(begins[i])
        width = len(low[i])
        one = sparse.eye(width)
        match node.op:
            case Affine():
                shift = node.op.shift()
                offset = np.zeros(width) if shift is None else shift.expand(node.op.shape).reshape(-1).numpy()
                matrix = affine_matrix(node.op, graph.shape(node.inputs[0]))
                require([(here, one), (int(begins[node.inputs[0]]), -matrix)], offset, offset)
            case Add():
                first, second = node.inputs
                if first == second:
                    require([(here, one), (int(begins[first]), -2 * one)], np.zeros(width), np.zeros(width))
                else:
                    parts = [(here, one), (int(begins[first]), -one), (int(begins[second]), -one)]
                    require(parts, np.zeros(width), np.zeros(width))
            case Relu():
                source = node.inputs[0]
                before, l, u = int(begins[source]), low[source], high[source]  # noqa: E741
                active = np.flatnonzero(l >= 0)
                pick = sparse.csr_matrix(one)
                if len(active):
                    flat = np.zeros(len(active))
                    require([(here, pick[active]), (before, -pick[active])], flat, flat)
                chosen = unstable[i]
                if len(chosen):
                    y, z, count = pick[chosen], pick[chosen], len(chosen)
                    a = sparse.eye(count)
                    none, free = np.zeros(count), np.full(count, np.inf)
                    require([(here, y), (before, -z)], none, free)
                    require([(here, y), (next_binary, -sparse.diags(u[chosen]) @ a)], -free, none)
                    require([(here, y), (before, -z), (next_binary, -sparse.diags(l[chosen]) @ a)], -free, -l[chosen])
                    next_binary += count
    lower = np.concatenate([*low, np.zeros(binaries)])
    upper = np.concatenate([*high, np.ones(binaries)])
    binary = np.repeat(np.array([0, 1], dtype=np.int64), [int(ends[-1]), binaries])
    matrix = sparse.csr_matrix(sparse.vstack(rows))
    constraint = LinearConstraint(matrix, np.concatenate(least), np.concatenate(most))
    return Program(constraint, Box(lower, upper), binary, slice(int(begins[-1]), int(ends[-1])))


@dataclass(frozen=True)
class Minimum:
    """What the solver knows of a minimal margin: it is at least `lower`; `point` reaches `upper` where one was found."""

    lower: float
    upper: float
    point: Array | None


def minimize(program: Program, row: Array, inputs: int, incumbent: float, seconds: float | None, nodes: int) -> Minimum:
    """Minimises row . logits. incumbent: a margin some input reaches (inf for none). seconds, nodes: limits of the search.

    Without a limit of seconds a search that outlasts PATIENCE raises InputError: no answer may depend on the machine.
    """
    objective = np.zeros(len(program.binary))
    objective[program.logits] = row
    constraints = [program.constraint]
    if np.isfinite(incumbent):
        constraints.append(LinearConstraint(sparse.csr_matrix(objective[None, :]), -np.inf, incumbent + TOLERANCE))
    begun = time.perf_counter()
    result = milp(
        objective,
        integrality=program.binary,
        bounds=program.box,
        constraints=constraints,
        options={"time_limit": PATIENCE if seconds is None else max(seconds, 0.01), "node_limit": nodes, "presolve": True},
    )
    if seconds is None and time.perf_counter() - begun > PATIENCE:
        what = f"one search of this network takes more than {PATIENCE:g} seconds."
        raise InputError(what, where="certificate.nodes", help='Ask for fewer nodes, or use method = "bab".')
    if result.status == 2:  # nothing lies below the incumbent
        return Minimum(incumbent, incumbent, None)
    lower = -np.inf if result.mip_dual_bound is None else float(result.mip_dual_bound)
    if result.x is None:
        return Minimum(lower, incumbent, None)
    return Minimum(lower, min(float(result.fun), incumbent), np.asarray(result.x[:inputs]))


def milp_verify(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float,
    norm: Norm = "linf",
    seconds: float | None = None,
    iterations: int = 20,
    nodes: int = MOST_NODES,
    candidates: Tensor | None = None,
) -> Certificates:
    """Complete Linf verification of every example: certified, refuted by an input, or undecided after `nodes`.

    nodes: of the search tree for each rival class. seconds: a limit of time as well, for each example. What it ends is listed
    in details["out_of_time"] and may end otherwise another day, so no board sets one.
    candidates: (n, *shape) points of an attack inside the ball, or None. `details["witness"]` maps the position of a
    refuted example to an input that changes its label, checked on the network itself. Raises InputError before any compute
    for a layer that has no exact encoding or a network beyond MOST_VARIABLES.
    """
    started = time.perf_counter()
    check_batch(x, y)
    if norm != "linf":
        raise InputError(f"MILP encodes Linf balls only, not {norm}.", help='Use method = "bab".')
    graph = trace(model, tuple(x.shape[1:]))
    check_encodable(graph)
    classes = logits_shape(graph, y)
    inputs, y = InputSet(x.detach().cpu().double(), epsilon, "linf"), y.cpu()
    worst, undecided = torch.full((len(x),), -torch.inf, dtype=torch.float64), torch.zeros(len(x), dtype=torch.bool)
    witness: dict[int, Tensor] = {}
    late: list[int] = []

    def margin_at(row: int, point: Tensor) -> Tensor:
        """(K - 1,) margins of the network at a point clipped into the ball."""
        inside = torch.minimum(torch.maximum(point, inputs.lower[row]), inputs.upper[row])
        return (margin_rows(y[row : row + 1], classes, torch.float64)[0] @ graph.forward(inside[None])[-1][0]).detach()

    granted = allowance(model, graph, inputs)
    for row in range(len(x)):
        deadline = torch.inf if seconds is None else time.perf_counter() + seconds
        starts = [inputs.x[row]] if candidates is None else [inputs.x[row], candidates[row].cpu().double()]
        reached = torch.stack([margin_at(row, point) for point in starts])
        if not bool(torch.isfinite(granted[row])) or not bool(torch.isfinite(reached).all()):
            continue
        if bool((reached <= 0).any()):
            witness[row] = starts[int(reached.amin(dim=1).argmin())]
            continue
        bounds = network_bounds(graph, inputs[row : row + 1])
        least = max(TOLERANCE, float(granted[row]))
        found, _ = crown_margins(graph, inputs[row : row + 1], y[row : row + 1], bounds, iterations=iterations)
        lower = outward(found)[0]
        if bool((lower <= least).any()):
            program = build_program(graph, bounds)
            rows = margin_rows(y[row : row + 1], classes, torch.float64)[0].numpy()
            for rival in torch.argsort(lower).tolist():
                if float(lower[rival]) > least:
                    continue
                left = None if seconds is None else deadline - time.perf_counter()
                result = minimize(program, rows[rival], inputs.x[row].numel(), float(reached[:, rival].min()), left, nodes)
                lower[rival] = max(float(lower[rival]), result.lower)
                if result.point is not None and result.upper <= 0:
                    point = torch.from_numpy(result.point).reshape(inputs.x[row].shape)
                    if bool((margin_at(row, point) <= 0).any()):
                        witness[row] = point
                        break
                if float(lower[rival]) <= least and time.perf_counter() > deadline:
                    late.append(row)
                    break
        worst[row] = lower.amin() - least if row not in witness else -torch.inf
        undecided[row] = row not in witness and bool(worst[row] <= 0)
    details: dict[str, object] = {"witness": witness, "seconds_per_example": seconds, "out_of_time": late}
    return bit_certificates("milp", inputs, worst, undecided, time.perf_counter() - started, details)
