"""Complete verification by branch and bound: bounds are improved, unstable ReLUs split, and every part bounded.

For every rival class whose margin is not proved at once, the question is whether an input with margin <= 0 exists. A problem's
neurons are first tightened (`evaluator.certify.tightening`) and bounded from above as functions of what they see
(`evaluator.certify.envelope`), then it is searched: domains, which are sets of splits, are bounded in large batches with slopes
and multipliers optimised together (beta-CROWN, Wang et al. 2021), and split at the neuron whose two halves are bounded best
among a few candidates (filtered smart branching, De Palma et al. 2021). A search that would take too many domains is given up
for the problem's two halves, at the neuron where both gain most. Each is tightened in turn, from what tightened the whole.

Everything is optimised in float32 for speed. Any slopes in [0, 1] and multipliers >= 0 give a true bound. So the final ones
are put through one more backward pass in float64, and only that bound closes a domain or moves a neuron's bounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.certify.base import Certificates, Model, check_batch, labels
from evaluator.certify.crown import crown_margins, network_bounds
from evaluator.certify.dual import GOAL, Duals, ascend, dual_bound, gaps, primal_point, proved
from evaluator.certify.envelope import enveloped
from evaluator.certify.graph import Graph
from evaluator.certify.ibp import allowance, bit_certificates, logits_shape, margin_rows, outward
from evaluator.certify.inputs import InputSet, Norm
from evaluator.certify.problem import Problem
from evaluator.certify.reduced import Reduced, Rows, reduce_network
from evaluator.certify.relaxation import check_relaxable
from evaluator.certify.tightening import tightened
from evaluator.certify.tracing import trace

CANDIDATES = 4  # neurons tried per split within a search
STRONGEST = 32  # neurons tried, and bounded well, where a search is given up
ROOT_STEPS = 30  # of Adam for the margins of a whole example
DOMAINS = (500, 1000)  # that a search may take: before all layers are tightened, and after
TRIAL = 32  # domains after which a search is given up that would take too many more
PROGRESS = 0.9  # a round that leaves more than this of the margin's deficit was the last
ROUNDS = 30  # of improving bounds at most
MOST_DOMAINS = 2000  # that an example may take where nothing else is asked for: work, not time, so that proofs can be repeated
MOST_UNSTABLE = 8000  # neurons; networks with more are bounded by CROWN alone
PROVED = 1e-9  # stands for a margin that was proved positive, not measured


class OutOfBudgetError(Exception):
    """The time or the domains of an example are spent."""


class RefutedError(Exception):
    """An input with another label was found."""


@dataclass
class Budget:
    """What one example may spend: `most` domains, and until `deadline` on `clock` where there is one.

    domains: bounded so far; late: the deadline has ended it, so that another day may decide otherwise.
    """

    deadline: float | None
    most: int | None
    domains: int = 0
    late: bool = False
    clock: Callable[[], float] = time.perf_counter

    def check(self) -> None:
        """Raises OutOfBudgetError when it is spent."""
        if self.most is not None and self.domains >= self.most:
            raise OutOfBudgetError
        if self.deadline is not None and self.clock() > self.deadline:
            self.late = True
            raise OutOfBudgetError


@dataclass(frozen=True)
class Settings:
    """steps: of Adam per bound; batch: domains bounded together."""

    steps: int
    batch: int


def until_it_stalls(problem: Problem, step: Callable[[Problem], Problem], budget: Budget) -> Problem:
    """A step that improves bounds, repeated until it closes the problem or helps little."""
    for _ in range(ROUNDS):
        budget.check()
        before = problem.lower
        problem = step(problem)
        if problem.closed or problem.lower < PROGRESS * before:
            break
    return problem


def both_halves(domains: Duals, neurons: Tensor) -> Duals:
    """(m k 2) domains: each of m split at each of its k neurons (m, k), z >= 0 first."""
    found = domains.repeat(2 * neurons.shape[1])
    at = torch.arange(len(found)), neurons.reshape(-1).repeat_interleave(2)
    found.splits[at] = torch.tensor([1, -1], dtype=torch.int8).repeat(neurons.numel())
    found.values[at] = 0.0
    return found


def split(problem: Problem, domains: Duals) -> Duals:
    """Both halves of every domain, at the candidate neuron whose worse half is bounded best."""
    network, target = problem.narrow
    scores = gaps(network, dual_bound(network, target, domains), domains)
    tried, m = min(CANDIDATES, int((domains.splits == 0).sum(dim=1).min())), len(domains)
    found = both_halves(domains, scores.topk(tried, dim=1).indices)
    pairs = dual_bound(network, target, found).lower.reshape(m, tried, 2)
    best = (pairs.amin(dim=2) + 0.1 * pairs.amax(dim=2)).argmax(dim=1)
    rows = ((torch.arange(m) * tried + best) * 2)[:, None] + torch.arange(2)
    return found[rows.reshape(-1)]


def expected(domains: int, gained: float) -> float:
    """How many domains a search takes in all, if as many levels of its tree gain as much again; 0 while that is not known."""
    if domains < TRIAL:
        return 0.0
    return float(domains ** (1 / gained)) if gained > 0.1 else torch.inf


def search(problem: Problem, settings: Settings, budget: Budget, limit: int) -> bool:
    """Whether splits alone prove a problem within `limit` domains; given up early where that cannot be expected."""
    network, target = problem.narrow
    open_, lower = problem.duals, torch.tensor([problem.lower])
    begun = budget.domains
    while len(open_):
        budget.check()
        if budget.domains - begun >= limit or not bool((open_.splits == 0).any(dim=1).all()):
            return False
        order = lower.argsort()
        chosen, rest = order[: settings.batch], order[settings.batch :]
        found = ascend(network, target, split(problem, open_[chosen]), steps=settings.steps, goal=GOAL)
        budget.domains += len(found.lower)
        left = found.lower <= 0
        hoped = (~left).nonzero().squeeze(1)
        if len(hoped):
            left[hoped] = proved(problem.network, problem.target, found.duals[hoped]) <= 0
        kept = found.duals[left]
        open_ = Duals(torch.cat([open_.splits[rest], kept.splits]), torch.cat([open_.values[rest], kept.values]), open_.scale)
        lower = torch.cat([lower[rest], found.lower[left]])
        if len(lower) and expected(budget.domains - begun, 1 - float(lower.mean()) / problem.lower) > limit:
            return False
    return True


def halves(problem: Problem, settings: Settings, budget: Budget) -> list[Problem]:
    """The two parts of a problem, split where both gain most. Raises OutOfBudgetError when every neuron is split already."""
    network, target = problem.narrow
    scores = gaps(network, problem.dual(), problem.duals)[0]
    tried = scores.topk(min(STRONGEST, int((problem.duals.splits == 0).sum()))).indices
    if not len(tried):
        raise OutOfBudgetError
    pairs = both_halves(problem.duals, tried[None])
    budget.domains += len(pairs)
    gains = (ascend(network, target, pairs, steps=settings.steps, goal=GOAL).lower - problem.lower) / -problem.lower
    best = int(tried[(gains.clamp(0, 1) + 1e-3).reshape(-1, 2).prod(dim=1).argmax()])
    return [problem.child(best, sign) for sign in (1, -1)]


def left_of(problem: Problem, settings: Settings, budget: Budget) -> list[Problem]:
    """What is still to be proved once all that is known was tried on a problem, cheap first: nothing, or its two halves."""
    last = len(problem.network.layers) - 1

    def last_layer(part: Problem) -> Problem:
        return tightened(part, last, settings.steps)

    def layers(part: Problem) -> Problem:
        return enveloped(tightened(part, min(1, last), settings.steps))

    for steps, limit in zip(((last_layer, enveloped), (layers,)), DOMAINS, strict=True):
        for step in steps if last >= 0 else ():
            problem = problem if problem.closed else until_it_stalls(problem, step, budget)
        if problem.closed or search(problem, settings, budget, limit):
            return []
    return halves(problem, settings, budget)


def close(problem: Problem, settings: Settings, budget: Budget, refutes: Callable[[Tensor], bool]) -> None:
    """Returns when the problem is proved to have no counterexample. Raises OutOfBudgetError or RefutedError."""
    stack = [problem]
    while stack:
        part = stack.pop().bounded(settings.steps)
        if part.closed:
            continue
        if refutes(primal_point(part.narrow[0], part.dual(), part.duals).x):
            raise RefutedError
        stack += left_of(part, settings, budget)


def root_problems(network: Reduced, margins: Rows, steps: int) -> list[Problem]:
    """One problem for every margin that optimised slopes do not prove positive, the least open first."""
    m, narrow, targets = len(margins), network.narrow, margins.narrow
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
    seconds: float | None = None,
    iterations: int = 8,
    batch: int = 128,
    domains: int | None = MOST_DOMAINS,
    clock: Callable[[], float] = time.perf_counter,
) -> Certificates:
    """Which examples keep label y for every input within `epsilon` (and in [0, 1]); at most `domains` bounded for each.

    iterations: steps of slope optimisation per bound. domains: None sets no limit. seconds: a limit of time as well, for each
    example. What it ends is listed in details["out_of_time"] and may end otherwise another day, so no board sets one.
    clock: what `seconds` are read from; time.process_time makes them independent of what else the machine does.
    An example is abstained when its budget ran out with domains open. Complete for Linf in the limit of work; run an attack
    first and pass only its survivors. Raises InputError before any compute for a layer without a relaxation.
    """
    started = time.perf_counter()
    check_batch(x, y)
    graph = trace(model, tuple(x.shape[1:]))
    check_relaxable(graph)
    logits_shape(graph, y)
    inputs, y = InputSet(x.detach().cpu().double(), epsilon, norm), y.cpu()
    with torch.no_grad():
        undecided = labels(graph.forward(inputs.x)[-1]) == y
    worst, spent = torch.full((len(x),), -torch.inf, dtype=torch.float64), [0.0] * len(x)
    visited, granted, settings = [0] * len(x), allowance(model, graph, inputs), Settings(iterations, batch)
    late: list[int] = []
    for row in undecided.nonzero().squeeze(1).tolist():
        begun = clock()
        budget = Budget(None if seconds is None else begun + seconds, domains, clock=clock)
        try:
            with torch.no_grad():
                worst[row] = _verify(graph, inputs[row : row + 1], int(y[row]), float(granted[row]), settings, budget)
        except RefutedError:
            undecided[row] = False
        visited[row], spent[row] = budget.domains, clock() - begun
        late += [row] * budget.late
    details: dict[str, object] = {
        "domains": visited, "seconds": spent, "seconds_per_example": seconds, "out_of_time": late,
    }  # fmt: skip
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
    if not bool(torch.isfinite(lower).all()):
        return -torch.inf
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
