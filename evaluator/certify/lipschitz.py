"""The Lipschitz margin certificate: a network that moves its logits slowly keeps its label nearby.

If Z_y - Z_j has Lipschitz constant L_j in the L2 norm, the label y holds within min_j (Z_y - Z_j) / L_j. With L for the
layers before the last dense one, L_j <= ||w_y - w_j|| L; for logits behind anything else L_j <= sqrt(2) L (Tsuzuku et al.
2018, "Lipschitz-Margin Training"). L is a product over layers and a sum over branches of *upper* bounds on layer norms:

- dense: the largest singular value, computed exactly and rounded up;
- convolution: zero padding only restricts the convolution on an unbounded image, whose norm is the largest singular value
  of its transfer function over all frequencies. That is evaluated on a grid of N x N frequencies; sigma^2 along each axis
  is a supremum of trigonometric polynomials of degree k - 1, which exceed their grid maximum by at most the factor
  1 / cos(pi (k - 1) / N) (Ehlich and Zeller 1964). Strided layers are first rewritten with stride 1 by moving each pixel
  of a stride x stride cell to its own channel, a permutation. Power iteration would only give a lower bound.

Float64 throughout, norms rounded up by a relative 1e-9. An Linf or L1 ball is covered by the L2 ball around it.
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from evaluator.certify.agreement import rounding
from evaluator.certify.base import Certificates, Model, check_batch, labels
from evaluator.certify.graph import Graph
from evaluator.certify.ibp import MARGIN, logits_shape, outward
from evaluator.certify.inputs import InputSet, Norm
from evaluator.certify.ops import Add, Affine, Conv, Input, Linear, MaxMin, MaxPool, Op, Relu, Reshape, Scale
from evaluator.certify.tracing import trace
from evaluator.errors import InputError

NEAR = 0.1  # radius in which the network is held against its layers where no other is asked for
GRID = 32  # least frequencies per axis
_UP = 1 + 1e-9
_MOST_WORK = 5e10  # multiplications of all singular value decompositions: a minute or so, and a few GB


def dense_norm(weight: Tensor) -> float:
    """An upper bound of the spectral norm of (out, in), tight to 1e-9."""
    return float(torch.linalg.matrix_norm(weight.double(), ord=2)) * _UP


def unstrided(weight: Tensor, stride: tuple[int, int]) -> Tensor:
    """A kernel (out, in, kh, kw) of that stride as a stride-1 kernel (out, in * sh * sw, ceil(kh / sh), ceil(kw / sw))."""
    out, channels, kh, kw = weight.shape
    sh, sw = stride
    high, wide = -(-kh // sh), -(-kw // sw)
    padded = weight.new_zeros(out, channels, high * sh, wide * sw)
    padded[:, :, :kh, :kw] = weight
    cells = padded.reshape(out, channels, high, sh, wide, sw).permute(0, 1, 3, 5, 2, 4)
    return cells.reshape(out, channels * sh * sw, high, wide)


def conv_norm(weight: Tensor, stride: tuple[int, int], dilation: tuple[int, int], groups: int) -> float:
    """An upper bound of the operator norm of a convolution on images of any size, with any zero padding."""
    if dilation != (1, 1):
        wide = [(weight.shape[2 + i] - 1) * dilation[i] + 1 for i in (0, 1)]
        spread = weight.new_zeros(*weight.shape[:2], *wide)
        spread[:, :, :: dilation[0], :: dilation[1]] = weight
        weight = spread
    worst = 0.0
    for part in weight.double().chunk(groups, dim=0):
        kernel = unstrided(part, stride)
        sizes = [max(GRID, 8 * (k - 1)) for k in kernel.shape[2:]]
        transfer = torch.fft.fft2(kernel, s=sizes).permute(2, 3, 0, 1)
        square = float(torch.linalg.matrix_norm(transfer, ord=2).amax()) ** 2
        for k, n in zip(kernel.shape[2:], sizes, strict=True):
            square /= math.cos(math.pi * (k - 1) / n)
        worst = max(worst, math.sqrt(square))
    return worst * _UP


def check_affordable(graph: Graph) -> None:
    """Raises InputError, before any compute, where the exact norms of all convolutions would take too long."""
    work = 0.0
    for op in (node.op for node in graph.nodes):
        if isinstance(op, Conv):
            out, inside = op.weight.shape[0] / op.groups, op.weight.shape[1] * math.prod(op.stride)
            work += op.groups * GRID**2 * min(out, inside) ** 2 * max(out, inside)
    if work > _MOST_WORK:
        what = f"the norms of its convolutions take {work:.0e} multiplications; this method stops at {_MOST_WORK:.0e}."
        raise InputError(what, where="lipschitz", help="Use narrower convolutions, or ask for smoothing.")


def op_norm(op: Op) -> float:
    """An upper bound of one operation's L2 Lipschitz constant."""
    match op:
        case Input() | Relu() | Reshape() | MaxMin():
            return 1.0
        case Linear():
            return dense_norm(op.weight)
        case Conv():
            return conv_norm(op.weight, op.stride, op.dilation, op.groups)
        case Scale():
            return float(op.scale.abs().amax()) * _UP
        case MaxPool():  # each input is seen by at most this many windows, and each window moves no more than its inputs
            return math.sqrt(math.prod(-(-k // s) for k, s in zip(op.kernel, op.stride, strict=True)))
    raise TypeError(f"{type(op).__name__} has no norm of its own")


def node_constants(graph: Graph) -> list[float]:
    """Lipschitz constants (upper bounds, L2 to L2) from the input to every node."""
    found: list[float] = []
    for node in graph.nodes:
        before = [found[i] for i in node.inputs]
        found.append(sum(before) * _UP if isinstance(node.op, Add) else math.prod([op_norm(node.op), *before]))
    return found


def pair_constants(graph: Graph, classes: int) -> Tensor:
    """(K, K): upper bounds of the Lipschitz constant of Z_i - Z_j."""
    constants, last = node_constants(graph), graph.nodes[-1]
    if not isinstance(last.op, Linear):
        return torch.full((classes, classes), math.sqrt(2) * constants[-1] * _UP, dtype=torch.float64)
    weight = last.op.weight.double()
    return torch.cdist(weight, weight) * constants[last.inputs[0]] * _UP


def lipschitz(model: Model, x: Tensor, y: Tensor, *, norm: Norm = "l2", epsilon: float | None = None) -> Certificates:
    """A radius in `norm` for every example within which label y holds.

    epsilon: where given, `certified` says whether the radius reaches it. details["constant"] is the bound on the network's
    Lipschitz constant. Raises InputError before any compute for a layer without a known norm, and for
    convolutions too wide for exact norms.
    """
    started = time.perf_counter()
    check_batch(x, y)
    graph = trace(model, tuple(x.shape[1:]), pools=True)
    check_affordable(graph)
    classes, y = logits_shape(graph, y), y.cpu()
    pairs = pair_constants(graph, classes)
    with torch.no_grad():
        logits = graph.forward(x.detach().cpu().double())[-1]
    gaps = logits.gather(1, y[:, None]) - logits
    # run in float32, gaps at x itself and at every x' may be off by a rounding that grows with the logits
    near = InputSet(x.detach().cpu().double(), max(epsilon or 0.0, NEAR), norm)
    rounded = rounding(model, graph, near)
    blur = MARGIN + 1e-5 * logits.abs().amax(dim=1, keepdim=True) + rounded[:, None]
    distance = outward(gaps - blur) / pairs[y].clamp_min(1e-300)
    radius = torch.nan_to_num(distance, nan=0.0).scatter(1, y[:, None], torch.inf).amin(dim=1).clamp_min(0.0)
    if norm == "linf":
        radius = radius / math.sqrt(x[0].numel() if len(x) else 1) / _UP
    certified = radius > 0 if epsilon is None else radius >= epsilon
    return Certificates(
        method="lipschitz",
        norm=norm,
        radius=radius,
        certified=certified,
        abstained=(labels(logits) == y) & torch.isfinite(rounded) & ~certified,
        samples=torch.zeros(len(x), dtype=torch.int64),
        seconds=time.perf_counter() - started,
        details={"constant": node_constants(graph)[-1], "layers": _layers(graph)},
    )


def _layers(graph: Graph) -> dict[str, float]:
    """The norm bound of every affine layer by name, for people who want to know which layer costs the radius."""
    return {f"{i} {node.name}": op_norm(node.op) for i, node in enumerate(graph.nodes) if isinstance(node.op, Affine)}
