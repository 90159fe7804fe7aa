"""Concave envelopes of ReLUs over boxes, where a bound needs them.

A neuron's input z = w . v + c depends on values v in a box: pixels, and outputs of ReLUs before it. The triangle bounds
max(z, 0) from above by a line in z. Its least concave bound as a function of v lies below that line, often far. It is the
minimum of exponentially many affine functions of v, its facets. The lowest at a given v is found by sorting
(Tjandraatmadja et al. 2020, "The Convex Relaxation Barrier, Revisited", theorem 1, after Anderson et al. 2020).

While the duals of a bound ascend, the points where it is attained average to one where its relaxation is loose. The facets at
that average join the envelope, one function a neuron: the mean of its facets so far. Any mean of facets is an upper bound, and
its share beside the triangle's line is a dual variable (see `evaluator.certify.dual`).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from evaluator.certify.dual import Duals, Primal, ascend
from evaluator.certify.problem import Problem
from evaluator.certify.reduced import Envelope, Reduced, Rows

STEPS, WARMUP, DECAY = 30, 10, 0.97  # of Adam for one round, those that do not count, and its decay, slower than elsewhere
SHARE = 0.5  # of a neuron's first facet, before it is optimised
LATEST = 0.1  # weight of a new facet in the mean, at least
LOOSE = 1e-4  # by how much a new facet lies below the relaxation at the average


def box(network: Reduced) -> tuple[Tensor, Tensor]:
    """(d + u,) each: the least and the largest values of pixels, then of ReLU outputs."""
    low, high = network.inputs.lower.reshape(-1), network.inputs.upper.reshape(-1)
    return torch.cat([low, network.lower.clamp_min(0)]), torch.cat([high, network.upper.clamp_min(0)])


def seen_values(weights: Tensor) -> Tensor:
    """(m, s): the columns where each row of weights (m, n) is not 0, filled up with others."""
    row, column = weights.nonzero(as_tuple=True)
    count = torch.bincount(row, minlength=len(weights))
    found = torch.zeros(len(weights), max(1, int(count.max())), dtype=torch.int64)
    found[row, torch.arange(len(row)) - (count.cumsum(dim=0) - count)[row]] = column
    short = torch.arange(found.shape[1]) >= count[:, None]
    return torch.where(short, weights.shape[1], found)


def facets(neurons: Rows, low: Tensor, high: Tensor, point: Tensor) -> Rows:
    """For each of m neurons the lowest facet of its envelope at a point (d + u,), for values (pixels first) in low..high.

    Going through the values in the order of how near they are to their worst (that which lowers z), each is set to it until z
    cannot be above 0 any more. Those keep their weight, the last one a part of it, the others have none.
    """
    dense = torch.cat([neurons.on_input, neurons.on_relus], dim=1)
    columns = seen_values(dense)
    weight, lower, upper, at = (
        torch.cat([part, torch.zeros(*part.shape[:-1], 1, dtype=dense.dtype)], dim=-1) for part in (dense, low, high, point)
    )
    weight = weight.gather(1, columns)
    best, worst = (torch.where(up, upper[columns], lower[columns]) for up in (weight >= 0, weight < 0))
    width = weight * (best - worst)  # >= 0: what a value at its worst takes from z
    near = torch.where(width > 0, (at[columns] - worst) / (best - worst), torch.inf)
    order = near.argsort(dim=1)
    most = (weight * best).sum(dim=1, keepdim=True) + neurons.constant[:, None]
    left = torch.cat([most, most - width.gather(1, order).cumsum(dim=1)], dim=1)  # of z, once the first so many are at worst
    kept = (left[:, 1:] >= 0).sum(dim=1, keepdim=True)
    last = kept.clamp_max(columns.shape[1] - 1)
    pivot = order.gather(1, last)
    slope = weight.gather(1, order).masked_fill_(torch.arange(columns.shape[1]) >= kept, 0.0)
    slope = torch.zeros_like(weight).scatter_(1, order, slope)
    slope.scatter_(1, pivot, left.gather(1, last) / (best - worst).gather(1, pivot))
    on, off = left[:, -1:] >= 0, most <= 0  # z is never below, or never above 0
    slope = torch.where(on, weight, slope).masked_fill_(off, 0.0)
    constant = torch.where(on, neurons.constant[:, None], -(slope * worst).sum(dim=1, keepdim=True)).masked_fill_(off, 0.0)
    wide = torch.zeros(len(dense), dense.shape[1] + 1, dtype=dense.dtype).scatter_(1, columns, slope)
    d = neurons.on_input.shape[1]
    return Rows(wide[:, :d], wide[:, d:-1], constant[:, 0])


def joined(old: Envelope, new: Envelope, weight: float) -> Envelope:
    """Both; where both know a neuron, `weight` of the new and the rest of the old."""
    at = torch.cat([old.at, new.at]).unique()
    share = torch.stack([torch.isin(at, part.at) for part in (old, new)]).double()
    share[:, share.all(dim=0)] = torch.tensor([[1 - weight], [weight]], dtype=share.dtype)
    parts = [(part.rows, factor, torch.searchsorted(at, part.at)) for part, factor in zip((old, new), share, strict=True)]

    def mixed(name: str) -> Tensor:
        found = torch.zeros(len(at), *getattr(old.rows, name).shape[1:], dtype=share.dtype)
        for rows, factor, place in parts:
            values = getattr(rows, name)
            found.index_add_(0, place, values * factor[place].reshape(-1, *[1] * (values.dim() - 1)))
        return found

    return Envelope(at, Rows(mixed("on_input"), mixed("on_relus"), mixed("constant")), old.rounds + 1)


def enveloped(problem: Problem) -> Problem:
    """With another facet in the envelopes of the neurons whose upper lines the bound uses, and improved duals."""
    if problem.closed:
        return problem
    visited: list[Tensor] = []

    def watch(point: Primal) -> None:
        visited.append(torch.cat([point.x[0], point.r[0]]))

    found = ascend(*problem.narrow, problem.duals, steps=STEPS, decay=DECAY, watch=watch)
    problem = replace(problem, duals=found.duals, lower=float(found.lower))
    network, point = problem.network, torch.stack(visited[WARMUP:]).mean(dim=0).double()
    used = (problem.dual().on_relus[0] < 0) & (problem.duals.splits[0] == 0)
    parts = [part.start + used[part].nonzero().squeeze(1) for part in network.layers]
    rows = Rows.cat([network.neurons[:0], *(facets(network.neurons[at], *box(network), point) for at in parts if len(at))])
    at, d = torch.cat(parts), network.neurons.on_input.shape[1]
    lower = point[d:][at] - rows.at(point[None, :d], point[None, d:])[0] > LOOSE
    if not bool(lower.any()):
        return problem.bounded(STEPS)
    new, old = Envelope(at[lower], rows[lower], 0), network.envelope
    values = problem.duals.values.clone()
    values[0, new.at[~torch.isin(new.at, old.at)]] = SHARE
    network = replace(network, envelope=joined(old, new, max(LATEST, 1 / (old.rounds + 2))))
    duals = Duals(problem.duals.splits, values, problem.duals.scale)
    return replace(problem, network=network, duals=duals).bounded(STEPS)
