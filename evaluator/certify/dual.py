"""Lower bounds of linear functions over a reduced network with splits, and their optimisation.

An unstable ReLU lies between two lines (see `evaluator.certify.relaxation`), some also below a function of the network's
`envelope`; a split z >= 0 or z <= 0 makes it linear and enters as a Lagrangian term. Each neuron has one dual variable. While
it is open that lies in [0, 1]. It is its lower slope where its coefficient is positive, the share of the envelope beside the
upper line where it is negative. Once it is split it is the multiplier >= 0 of its constraint, in units of `scale`. Any such
values give a true bound, the best ones that of the linear program. Wang et al. 2021 (beta-CROWN).

The bound is concave in the duals where the coefficients keep their signs. Its gradient is the relaxation's primal point, so
a step of ascent is one product with each matrix backward and one forward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.certify.ibp import outward
from evaluator.certify.reduced import Reduced, Rows

RATE, DECAY = 0.3, 0.85  # of Adam: its first step, and the factor from step to step
MOMENTS = (0.9, 0.999)
GOAL = 1e-4  # what a bound in float32 should exceed before it is worth a proof in float64


@dataclass(frozen=True, eq=False)
class Split:
    """Where domains are split: rows and columns, and the signs there."""

    at: tuple[Tensor, Tensor]
    sign: Tensor


@dataclass(frozen=True, eq=False)
class Duals:
    """What bounds m functions: splits (m, u) int8, +1 for z >= 0, -1 for z <= 0, 0 for open; values (m, u); scale (u,)."""

    splits: Tensor
    values: Tensor
    scale: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, keep: Tensor | slice) -> Duals:
        return Duals(self.splits[keep], self.values[keep], self.scale)

    def to(self, dtype: torch.dtype) -> Duals:
        """The same in another dtype."""
        return Duals(self.splits, self.values.to(dtype), self.scale.to(dtype))

    def split_at(self, columns: slice = slice(None)) -> Split:
        """The splits of these columns; few, so that they are worth treating apart."""
        signs = self.splits[:, columns]
        rows, at = signs.nonzero(as_tuple=True)
        return Split((rows, at), signs[rows, at])

    def repeat(self, times: int) -> Duals:
        """Each row `times` times in a row."""
        return Duals(self.splits.repeat_interleave(times, dim=0), self.values.repeat_interleave(times, dim=0), self.scale)


@dataclass(frozen=True, eq=False)
class Dual:
    """A backward pass: lower bounds (m,), coefficients of the ReLUs' outputs (m, u) and of the input (m, d)."""

    lower: Tensor
    on_relus: Tensor
    on_input: Tensor


@dataclass(frozen=True, eq=False)
class Primal:
    """The point where a bound is attained in the relaxation: x (m, d), inputs z and outputs r of the ReLUs (m, u).

    bend: (m, k), by how much the envelope lies above the upper lines of its neurons there.
    """

    x: Tensor
    z: Tensor
    r: Tensor
    bend: Tensor


def upper_slope(network: Reduced) -> Tensor:
    """(u,): u / (u - l) of the upper line u (z - l) / (u - l)."""
    return network.upper / (network.upper - network.lower).clamp_min(torch.finfo(network.lower.dtype).tiny)


def dual_bound(network: Reduced, target: Rows, duals: Duals) -> Dual:
    """Lower bounds of `target` (m functions, or one for all rows) over the domains of `duals`."""
    slope = upper_slope(network)
    coefficients = target.on_relus.expand(len(duals), -1).clone()
    passed = torch.empty_like(coefficients)
    curved = coefficients.new_empty(len(coefficients), len(network.envelope))
    for columns, bent in zip(reversed(network.layers), reversed(network.bent), strict=True):
        a, value, split = coefficients[:, columns], duals.values[:, columns], duals.split_at(columns)
        through = torch.where(a > 0, value, slope[columns]).mul_(a)
        multipliers = split.sign * value[split.at] * duals.scale[columns][split.at[1]]
        through[split.at] = a[split.at].masked_fill(split.sign < 0, 0.0) - multipliers
        at, earlier = network.envelope.at[bent], slice(0, columns.start)
        part = duals.values[:, at] * coefficients[:, at].clamp_max(0)
        curved[:, bent] = part.masked_fill_(duals.splits[:, at] != 0, 0.0)
        through[:, at - columns.start] -= part * slope[at]
        passed[:, columns] = through
        coefficients[:, earlier] += through @ network.neurons.on_relus[columns, earlier]
        coefficients[:, earlier] += part @ network.envelope.rows.on_relus[bent, earlier]
    on_input = target.on_input + network.neurons.to_input(passed) + network.envelope.rows.to_input(curved)
    below = coefficients.clamp_max(0)
    below[duals.split_at().at] = 0.0
    below[:, network.envelope.at] -= curved
    constant = target.constant + passed @ network.neurons.constant + curved @ network.envelope.rows.constant
    constant = constant - below @ (slope * network.lower)
    return Dual(constant + network.inputs.minimum(on_input[None])[0], coefficients, on_input)


def proved(network: Reduced, target: Rows, duals: Duals) -> Tensor:
    """(m,): sound lower bounds. network, target: in float64."""
    return outward(dual_bound(network, target, duals.to(torch.float64)).lower)


def primal_point(network: Reduced, found: Dual, duals: Duals) -> Primal:
    """Where the bounds `found` are attained."""
    x, slope = network.inputs.minimizer(found.on_input[None])[0], upper_slope(network)
    z = network.neurons.from_input(x) + network.neurons.constant
    bend = network.envelope.rows.from_input(x) + network.envelope.rows.constant
    r = torch.empty_like(z)
    for columns, bent in zip(network.layers, network.bent, strict=True):
        at, earlier = network.envelope.at[bent], slice(0, columns.start)
        z[:, columns] += r[:, earlier] @ network.neurons.on_relus[columns, earlier].T
        here, split = z[:, columns], duals.split_at(columns)
        below, above = duals.values[:, columns] * here, slope[columns] * (here - network.lower[columns])
        bend[:, bent] += r[:, earlier] @ network.envelope.rows.on_relus[bent, earlier].T - above[:, at - columns.start]
        above[:, at - columns.start] += duals.values[:, at] * bend[:, bent]
        out = torch.where(found.on_relus[:, columns] >= 0, below, above)
        out[split.at] = here[split.at].masked_fill(split.sign < 0, 0.0)
        r[:, columns] = out
    return Primal(x, z, r, bend)


def gaps(network: Reduced, found: Dual, duals: Duals) -> Tensor:
    """(m, u): how much the relaxation of each open neuron can cost the bound; -1 for split ones.

    Bunel et al. 2020 (BaBSR), section 4: the upper line's intercept, or the lower line's greatest distance from the ReLU.
    """
    intercept = found.on_relus.clamp_max(0) * (upper_slope(network) * network.lower)
    reach = torch.minimum(duals.values * -network.lower, (1 - duals.values) * network.upper)
    return torch.where(duals.splits == 0, intercept + found.on_relus.clamp_min(0) * reach, -1.0)


def supergradient(network: Reduced, found: Dual, point: Primal, duals: Duals) -> Tensor:
    """(m, u): how the bounds `found` change with the duals, from the point where they are attained."""
    at, split = network.envelope.at, duals.split_at()
    gradient = found.on_relus.clamp_min(0).mul_(point.z)
    gradient[:, at] += found.on_relus[:, at].clamp_max(0) * point.bend
    gradient[split.at] = -split.sign * duals.scale[split.at[1]] * point.z[split.at]
    return gradient


class _Adam:
    """Kingma and Ba 2015, ascending, for rows that may leave."""

    def __init__(self, like: Tensor, rate: float, decay: float) -> None:
        self.rate, self.decay = rate, decay
        self.first, self.second = torch.zeros_like(like), torch.zeros_like(like)

    def move(self, gradient: Tensor, step: int) -> Tensor:
        """What to add in step 1, 2, ..."""
        a, b = MOMENTS
        self.first.lerp_(gradient, 1 - a)
        self.second.mul_(b).addcmul_(gradient, gradient, value=1 - b)
        size = (self.second / (1 - b**step)).sqrt_().add_(1e-8)
        return (self.first / size).mul_(self.rate * self.decay**step / (1 - a**step))

    def keep(self, rows: Tensor) -> None:
        """Forgets the other rows."""
        self.first, self.second = self.first[rows], self.second[rows]


@dataclass(frozen=True, eq=False)
class Cut:
    """A function that is at most 0 on the part of the domain that matters, its multipliers (m,) >= 0 in units of unit (m,)."""

    target: Rows
    multipliers: Tensor
    unit: Tensor

    def __getitem__(self, keep: Tensor) -> Cut:
        return Cut(self.target, self.multipliers[keep], self.unit[keep])

    def added(self, target: Rows) -> Rows:
        """The Lagrangian: `target` plus multiplier times the cut."""
        return target.plus(self.target, (self.multipliers * self.unit).to(target.constant.dtype))


@dataclass(frozen=True, eq=False)
class Ascent:
    """The best bounds (m,) that were seen and what gave them."""

    lower: Tensor
    duals: Duals
    cut: Cut | None


def ascend(
    network: Reduced,
    target: Rows,
    duals: Duals,
    *,
    steps: int,
    goal: float = torch.inf,
    cut: Cut | None = None,
    rate: float = RATE,
    decay: float = DECAY,
    watch: Callable[[Primal], None] | None = None,
) -> Ascent:
    """Improves the bounds of `target` by `steps` of Adam; rows whose bound exceeds `goal` leave early.

    watch: is shown where the bounds of each step are attained.
    """
    best = torch.full((len(duals),), -torch.inf, dtype=duals.values.dtype)
    values = duals.values.clone()
    multipliers = None if cut is None else cut.multipliers.clone()
    live, now, term = torch.arange(len(duals)), duals, cut
    adam, adam_cut = _Adam(duals.values, rate, decay), _Adam(best, rate, decay)
    for step in range(1, steps + 2):
        own = target if len(target) == 1 else target[live]
        found = dual_bound(network, own if term is None else term.added(own), now)
        better = found.lower > best[live]
        rows = live[better]
        best[rows], values[rows] = found.lower[better], now.values[better]
        if multipliers is not None and term is not None:
            multipliers[rows] = term.multipliers[better]
        on = best[live] <= goal
        if step > steps or not bool(on.any()):
            break
        if not bool(on.all()):
            live, now, term = live[on], now[on], None if term is None else term[on]
            found = Dual(found.lower[on], found.on_relus[on], found.on_input[on])
            adam.keep(on)
            adam_cut.keep(on)
        point, split = primal_point(network, found, now), now.split_at()
        if watch is not None:
            watch(point)
        gradient = supergradient(network, found, point, now)
        moved = adam.move(gradient, step).add_(now.values).clamp_min_(0)
        beyond = moved[split.at]
        moved.clamp_max_(1)[split.at] = beyond
        now = Duals(now.splits, moved, now.scale)
        if term is not None:
            uphill = term.target.at(point.x, point.r)[:, 0] * term.unit
            term = Cut(term.target, (term.multipliers + adam_cut.move(uphill, step)).clamp_min(0), term.unit)
    final = None if cut is None or multipliers is None else Cut(cut.target, multipliers, cut.unit)
    return Ascent(best, Duals(duals.splits, values, duals.scale), final)
