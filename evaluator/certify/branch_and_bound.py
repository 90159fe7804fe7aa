"""Complete verification by branch and bound: neurons are tightened, unstable ReLUs split, and every part bounded.

For every rival class whose margin is not proved at once, the question is whether an input with margin <= 0 exists. A problem
is first tightened (`evaluator.certify.tightening`), then searched: domains, which are sets of splits, are bounded in large
batches with slopes and multipliers optimised together (beta-CROWN, Wang et al. 2021), and split at the neuron whose two
halves are bounded best among a few candidates (filtered smart branching, De Palma et al. 2021). A search that takes too many
domains is given up for the two halves of its first split, which are tightened anew.

Everything is optimised in float32 for speed. Any slopes in [0, 1] and multipliers >= 0 give a true bound, so the final ones
are put through one more backward pass in float64, and only that bound closes a domain or moves a neuron's bounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.certify.base import Certificates, Model, check_batch
from evaluator.certify.crown import crown_margins, network_bounds
from evaluator.certify.dual import GOAL, Duals, ascend, dual_bound, gaps, primal_point, proved
from evaluator.certify.graph import Graph
from evaluator.certify.ibp import allowance, bit_certificates, logits_shape, margin_rows, outward
from evaluator.certify.inputs import InputSet, Norm
from evaluator.certify.reduced import Reduced, Rows, reduce_network
from evaluator.certify.relaxation import check_relaxable
from evaluator.certify.tightening import Problem, tightened
from evaluator.certify.tracing import trace

CANDIDATES = 4  # neurons tried per split
ROOT_STEPS = 30  # of Adam for the margins of a whole example
DOMAINS = 2000  # after which a search is given up for its two halves
PROGRESS = 0.95  # a round of tightening that leaves more than this of the margin's deficit was the last
ROUNDS = 30  # of tightening at most
MOST_UNSTABLE = 8000  # neurons; networks with more are bounded by CROWN alone
PROVED = 1e-9  # stands for a margin that was proved positive, not measured


class OutOfBudgetError(Exception):
    """The time or the domains of an example are spent."""


class RefutedError(Exception):
    """An input with another label was found."""


@dataclass
class Budget:
    """What one example may spend: until `deadline` on `clock`, `most` domains; `domains` were bounded so far."""

    deadline: float
    most: int | None
    domains: int = 0
    clock: Callable[[], float] = time.perf_counter

    def check(self) -> None:
        """Raises OutOfBudgetError when it is spent."""
        if self.clock() > self.deadline or (self.most is not None and self.domains >= self.most):
            raise OutOfBudgetError


@dataclass(frozen=True)
class Settings:
    """steps: of Adam per bound; batch: domains bounded together."""

    steps: int
    batch: int


def reduced_further(problem: Problem, settings: Settings, budget: Budget) -> Problem:
    """Tightened until it is closed or stalls: the last layer first, which is cheap, then all but the first."""
    last = len(problem.network.layers) - 1
    if last < 0:
        return problem
    for first in (last, min(1, last)):
        for _ in range(ROUNDS):
            budget.check()
            before = problem.lower
            problem = tightened(problem, first, settings.steps)
            if problem.closed:
                return problem
            if problem.lower < PROGRESS * before:
                break
    return problem


def split(problem: Problem, domains: Duals) -> tuple[Duals, Tensor]:
    """Both halves of every domain, at the candidate neuron whose worse half is bounded best, and those neurons (m,)."""
    network, target = problem.narrow
    scores = gaps(network, dual_bound(network, target, domains), domains)
    tried = min(CANDIDATES, int((domains.splits == 0).sum(dim=1).min()))
    top, m = scores.topk(tried, dim=1).indices, len(domains)
    halves = domains.repeat(2 * tried)
    at = torch.arange(len(halves)), top.reshape(-1).repeat_interleave(2)
    halves.splits[at] = torch.tensor([1, -1], dtype=torch.int8).repeat(m * tried)
    halves.values[at] = 0.0
    pairs = dual_bound(network, target, halves).lower.reshape(m, tried, 2)
    best = (pairs.amin(dim=2) + 0.1 * pairs.amax(dim=2)).argmax(dim=1)
    rows = ((torch.arange(m) * tried + best) * 2)[:, None] + torch.arange(2)
    return halves[rows.reshape(-1)], top[torch.arange(m), best]


def search(problem: Problem, settings: Settings, budget: Budget) -> list[Problem]:
    """What is left of a problem: nothing where every domain was closed, else the open halves of its first split."""
    network, target = problem.narrow
    open_, lower = problem.duals, torch.tensor([problem.lower])
    begun, root = budget.domains, -1
    while len(open_):
        budget.check()
        if budget.domains - begun >= DOMAINS or not bool((open_.splits == 0).any(dim=1).all()):
            break
        order = lower.argsort()
        chosen, rest = order[: settings.batch], order[settings.batch :]
        halves, neurons = split(problem, open_[chosen])
        root = int(neurons[0]) if root < 0 else root
        found = ascend(network, target, halves, steps=settings.steps, goal=GOAL)
        budget.domains += len(halves)
        left = found.lower <= 0
        hoped = (~left).nonzero().squeeze(1)
        if len(hoped):
            left[hoped] = proved(problem.network, problem.target, found.duals[hoped]) <= 0
        kept = found.duals[left]
        open_ = Duals(torch.cat([open_.splits[rest], kept.splits]), torch.cat([open_.values[rest], kept.values]), open_.scale)
        lower = torch.cat([lower[rest], found.lower[left]])
    if len(open_) and root < 0:
        raise OutOfBudgetError  # every neuron is split already
    return [problem.child(root, sign) for sign in (1, -1) if bool((open_.splits[:, root] == sign).any())]


def close(problem: Problem, settings: Settings, budget: Budget, refutes: Callable[[Tensor], bool]) -> None:
    """Returns when the problem is proved to have no counterexample. Raises OutOfBudgetError or RefutedError."""
    stack = [problem]
    while stack:
        part = stack.pop().bounded(settings.steps)
        if part.closed:
            continue
        if refutes(primal_point(part.narrow[0], part.dual(), part.duals).x):
            raise RefutedError
        part = reduced_further(part, settings, budget)
        if not part.closed:
            stack += search(part, settings, budget)


def root_problems(network: Reduced, margins: Rows, steps: int) -> list[Problem]:
    """One problem for every margin that optimised slopes do not prove positive, the least open first."""
    m, narrow, targets = len(margins), network.to(torch.float32), margins.to(torch.float32)
    adaptive = (narrow.upper > -narrow.lower).to(torch.float32).expand(m, -1)
    zeros, ones = torch.zeros(m, len(network), dtype=torch.int8), torch.ones(len(network))
    found = ascend(narrow, targets, Duals(zeros, adaptive, ones), steps=steps, goal=GOAL)
    sound = proved(network, margins, found.duals)
    sizes = dual_bound(narrow, targets, found.duals).on_relus.abs()
    scales = torch.maximum(sizes, 0.1 * sizes.mean(dim=1, keepdim=True)) + 1e-6  # of multipliers: the rows' own size
    open_ = [int(i) for i in sound.argsort(descending=True) if float(sound[i]) <= 0]
    return [
        Problem(network, margins[i : i + 1], Duals(zeros[:1], found.duals.values[i : i + 1], scales[i]), float(sound[i]))
        for i in open_
    ]


def branch_and_bound(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float,
    norm: Norm = "linf",
    seconds: float = 60.0,
    iterations: int = 8,
    batch: int = 128,
    domains: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Certificates:
    """Which examples keep label y for every input within `epsilon` (and in [0, 1]); at most `seconds` for each.

    iterations: steps of slope optimisation per bound. domains: the most that one example may bound (None: no limit).
    clock: what `seconds` are read from; time.process_time makes them independent of what else the machine does.
    An example is abstained when its time ran out with domains open. Complete for Linf in the limit of time; run an attack
    first and pass only its survivors. Raises InputError before any compute for a layer without a relaxation.
    """
    started = time.perf_counter()
    check_batch(x, y)
    graph = trace(model, tuple(x.shape[1:]))
    check_relaxable(graph)
    logits_shape(graph, y)
    inputs, y = InputSet(x.detach().cpu().double(), epsilon, norm), y.cpu()
    with torch.no_grad():
        undecided = graph.forward(inputs.x)[-1].argmax(dim=1) == y
    worst, spent = torch.full((len(x),), -torch.inf, dtype=torch.float64), [0.0] * len(x)
    visited, granted, settings = [0] * len(x), allowance(model, graph, x), Settings(iterations, batch)
    for row in undecided.nonzero().squeeze(1).tolist():
        begun = clock()
        budget = Budget(begun + seconds, domains, clock=clock)
        try:
            with torch.no_grad():
                worst[row] = _verify(graph, inputs[row : row + 1], int(y[row]), float(granted[row]), settings, budget)
        except RefutedError:
            undecided[row] = False
        visited[row], spent[row] = budget.domains, clock() - begun
    details: dict[str, object] = {"domains": visited, "seconds": spent, "seconds_per_example": seconds}
    return bit_certificates("bab", inputs, worst, undecided, time.perf_counter() - started, details)


def _verify(graph: Graph, inputs: InputSet, label: int, margin: float, settings: Settings, budget: Budget) -> float:
    """The least margin of one example less `margin`, as far as it was proved. Raises RefutedError."""
    y = torch.tensor([label])
    bounds = network_bounds(graph, inputs)
    rows = margin_rows(y, graph.shape(len(graph) - 1)[0], torch.float64)
    unstable = sum(int(((b.lower < 0) & (b.upper > 0)).sum()) for b in bounds.relus.values())
    steps = ROOT_STEPS if unstable > MOST_UNSTABLE else 0
    with torch.enable_grad():
        lower = outward(crown_margins(graph, inputs, y, bounds, iterations=steps)[0])[0].detach() - margin
    open_ = (lower <= 0).nonzero().squeeze(1)
    if not len(open_) or unstable > MOST_UNSTABLE:
        return float(lower.min())
    network, margins = reduce_network(graph, bounds.relus, inputs, rows[:, open_])
    margins = Rows(margins.on_input, margins.on_relus, margins.constant - margin)

    def refutes(points: Tensor) -> bool:
        inside = points.double().reshape(inputs.x.shape)
        return bool(inputs.contains(inside)) and int(graph.forward(inside)[-1].argmax()) != label

    problems = root_problems(network, margins, ROOT_STEPS)
    least = min((problem.lower for problem in problems), default=PROVED)
    try:
        for problem in problems:
            close(problem, settings, budget, refutes)
    except OutOfBudgetError:
        return least
    return PROVED
