"""The graph that bounds are computed on, held against the network itself at points of the set that is certified."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from evaluator.certify.base import Model
from evaluator.certify.graph import Graph
from evaluator.certify.inputs import InputSet
from evaluator.errors import InputError

POINTS = 4  # random ones per example, beside the example itself; half of them corners
TOLERANCE = 1e-2  # of the largest logit: float32 rounds ten thousand times less, tensor cores (TF32) ten times
_ROWS = 256  # of one pass
_SEED = 0x5EED


def rounding(model: Model, graph: Graph, inputs: InputSet) -> Tensor:
    """(n,) float64: how far the model's logits are from the graph's at most, at x and at random points of its set.

    Infinite where the model answers NaN or infinity: nothing can be certified about such an example. Raises InputError where
    the two disagree by more than rounding: something in the network was not understood.
    """
    generator = torch.Generator().manual_seed(_SEED)
    worst = torch.zeros(len(inputs), dtype=torch.float64)
    for number in range(POINTS + 1):
        for first in range(0, len(inputs), _ROWS):
            rows = slice(first, first + _ROWS)
            moved = _apart(model, graph, _points(inputs[rows], number, generator), first)
            worst[rows] = torch.maximum(worst[rows], moved)
    return worst


def _points(inputs: InputSet, number: int, generator: torch.Generator) -> Tensor:
    """x itself, then by turns random corners of the box around it and random points of that box, drawn into the ball."""
    if number == 0:
        return inputs.x
    share = torch.rand(inputs.x.shape, generator=generator, dtype=inputs.x.dtype)
    if number % 2:
        share = share.round()
    moved = (inputs.lower + share * (inputs.upper - inputs.lower) - inputs.x).flatten(1)
    if inputs.norm != "linf":
        size = torch.linalg.vector_norm(moved, ord=2.0 if inputs.norm == "l2" else 1.0, dim=1, keepdim=True)
        moved = moved * (inputs.epsilon / size.clamp_min(1e-30)).clamp_max(1)
    return (inputs.x + moved.reshape(inputs.x.shape)).clamp(0, 1)


def _apart(model: Model, graph: Graph, points: Tensor, first: int) -> Tensor:
    with torch.no_grad():
        like = next(model.parameters(), points.float()) if isinstance(model, nn.Module) else points.float()
        asked = points.to(like)
        said, read = model(asked).detach().cpu().double(), graph.forward(asked.cpu().double())[-1]
    if said.shape != read.shape:
        raise _misread(f"answers {tuple(said.shape)} where its layers give {tuple(read.shape)}")
    moved = (said - read).abs().amax(dim=1)
    finite = torch.isfinite(said).all(dim=1) & torch.isfinite(read).all(dim=1)
    far = finite & (moved > TOLERANCE * read.abs().amax(dim=1).clamp_min(1.0))
    if bool(far.any()):
        row = int(far.nonzero()[0])
        raise _misread(f"answers up to {float(moved[row]):.3g} beside what its layers give near example {first + row}")
    return torch.where(finite, moved, torch.inf)


def _misread(what: str) -> InputError:
    return InputError(
        f"the network {what}: something in it was not understood.",
        where="certificate",
        help="Write its forward without state, in-place changes or branches.",
    )
