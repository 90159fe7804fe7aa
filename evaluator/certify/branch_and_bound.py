"""Complete verification by branch and bound: unstable ReLUs are split, linear relaxations bound every part.

A domain is a rival class and a set of splits (some neurons fixed to z >= 0, others to z <= 0). Its margin is bounded by a
backward pass with optimised slopes and Lagrange multipliers of the splits (beta-CROWN, Wang et al. 2021); a domain whose
bound is positive is closed, the others are split at the neuron whose two halves are bounded best among a few candidates
(filtered smart branching, De Palma et al. 2021), until none is left, an attack succeeds, or time runs out.

Slopes and multipliers are optimised in float32 for speed. Any slopes in [0, 1] and multipliers >= 0 give a true bound, so
before a domain is closed its final ones are put through one more backward pass in float64, and only that bound counts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.certify.base import Certificates, Model, check_batch
from evaluator.certify.crown import NetworkBounds, crown_margins, network_bounds
from evaluator.certify.graph import Graph, trace
from evaluator.certify.ibp import Bounds, allowance, bit_certificates, logits_shape, margin_rows, outward
from evaluator.certify.inputs import InputSet, Norm
from evaluator.certify.relaxation import Relaxation, backward_bound, check_relaxable

CANDIDATES = 6  # neurons tried per split
STEPS = 12  # of Adam per domain
ROOT_STEPS = 30
PROVED = 1e-9  # stands for a margin that was proved positive, not measured


@dataclass(eq=False)
class Domains:
    """Open domains of one example, stored over its unstable neurons only (columns; u of them in all ReLU layers).

    rival: (m,) index among the margin rows; splits: (m, u) int8, +1 for z >= 0, -1 for z <= 0, 0 for open; slopes and
    multipliers: (m, u) float32 warm starts; lower: (m,) proved bound.
    """

    rival: Tensor
    splits: Tensor
    slopes: Tensor
    multipliers: Tensor
    lower: Tensor

    def __len__(self) -> int:
        return len(self.rival)

    def __getitem__(self, keep: Tensor | slice) -> Domains:
        return Domains(self.rival[keep], self.splits[keep], self.slopes[keep], self.multipliers[keep], self.lower[keep])

    @staticmethod
    def cat(parts: list[Domains]) -> Domains:
        """All domains of several sets."""
        names = ("rival", "splits", "slopes", "multipliers", "lower")
        return Domains(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


class Verifier:
    """Bounds domains of one example. graphs, inputs: float32 to search, float64 to prove; margin: to be exceeded."""

    def __init__(
        self, graph: Graph, graph32: Graph, inputs: InputSet, y: Tensor, bounds: NetworkBounds, *, margin: float
    ) -> None:
        self.graph, self.graph32, self.inputs, self.inputs32 = graph, graph32, inputs, inputs.to(torch.float32)
        self.rows = margin_rows(y, graph.shape(len(graph) - 1)[0], torch.float64)[0]
        self.bounds = bounds.relus
        self.margin = margin
        self.where: dict[int, Tensor] = {}
        self.columns: dict[int, slice] = {}
        count = 0
        for node, box in bounds.relus.items():
            chosen = ((box.lower < 0) & (box.upper > 0)).reshape(-1).nonzero().squeeze(1)
            self.where[node], self.columns[node] = chosen, slice(count, count + len(chosen))
            count += len(chosen)
        self.unstable = count

    def root(self, lower: Tensor, slopes: dict[int, Tensor]) -> Domains:
        """One domain per rival class not proved yet, with the slopes that bounded it."""
        open_ = (lower[0] <= self.margin).nonzero().squeeze(1)
        packed = [slopes[n][0].flatten(1)[open_][:, self.where[n]].float() for n in self.where]
        zeros = torch.zeros(len(open_), self.unstable)
        warm = torch.cat(packed, dim=1) if packed else zeros
        return Domains(open_, zeros.to(torch.int8), warm, zeros.clone(), lower[0][open_])

    def relaxation(self, splits: Tensor, slopes: Tensor, multipliers: Tensor) -> Relaxation:
        """The relaxation of domains (m,) in the dtype of `slopes`, differentiable in slopes and multipliers."""
        dtype, m = slopes.dtype, len(splits)
        boxes: dict[int, Bounds] = {}
        lines: dict[int, Tensor] = {}
        terms: dict[int, Tensor] = {}
        for node, box in self.bounds.items():
            index, part, shape = self.where[node], self.columns[node], self.graph.shape(node)
            low, high = (b.to(dtype).reshape(1, -1).expand(m, -1).clone() for b in (box.lower, box.upper))
            if dtype == torch.float32:
                low, high = low - 1e-6 * low.abs(), high + 1e-6 * high.abs()
            sign = splits[:, part]
            low[:, index] = torch.where(sign > 0, 0.0, low[:, index])
            high[:, index] = torch.where(sign < 0, 0.0, high[:, index])
            boxes[node] = Bounds(low.reshape(m, *shape), high.reshape(m, *shape))
            for store, values in ((lines, slopes[:, part]), (terms, multipliers[:, part] * sign)):
                full = torch.zeros(m, low.shape[1], dtype=dtype).index_copy(1, index, values)
                store[node] = full.reshape(m, 1, *shape)
        return Relaxation(boxes, lines, terms)

    def _spec(self, rival: Tensor, dtype: torch.dtype) -> Tensor:
        return self.rows[rival].to(dtype)[:, None, :]

    def bound(self, domains: Domains, steps: int) -> Domains:
        """Optimises the domains' slopes and multipliers in float32; `lower` is then proved in float64."""
        slopes, multipliers = domains.slopes.clone().requires_grad_(True), domains.multipliers.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([{"params": [slopes], "lr": 0.1}, {"params": [multipliers], "lr": 0.1}])
        spec, last = self._spec(domains.rival, torch.float32), len(self.graph) - 1
        best = torch.full((len(domains),), -torch.inf)
        kept = (slopes.detach().clone(), multipliers.detach().clone())
        for step in range(steps + 1):
            with torch.enable_grad():
                relaxation = self.relaxation(domains.splits, slopes, multipliers)
                lower = backward_bound(self.graph32, last, spec, self.inputs32, relaxation).lower.squeeze(1)
                better = (lower.detach() > best)[:, None]
                kept = (torch.where(better, slopes.detach(), kept[0]), torch.where(better, multipliers.detach(), kept[1]))
                best = torch.maximum(best, lower.detach())
                if step == steps or bool((best > self.margin + 1e-4).all()):
                    break
                optimizer.zero_grad()
                (-torch.where(best > self.margin + 1e-4, 0.0, lower).sum()).backward()
            optimizer.step()
            with torch.no_grad():
                slopes.clamp_(0, 1)
                multipliers.clamp_(min=0)
        proved = domains.lower.clone()
        if bool((best > self.margin).any()):
            rows = (best > self.margin).nonzero().squeeze(1)
            exact = self.relaxation(domains.splits[rows], kept[0][rows].double(), kept[1][rows].double())
            sound = backward_bound(self.graph, last, self._spec(domains.rival[rows], torch.float64), self.inputs, exact).lower
            proved[rows] = torch.maximum(proved[rows], outward(sound.squeeze(1)))
        hoped = torch.where(proved > self.margin, proved, torch.minimum(best.double(), proved.new_tensor(self.margin)))
        return Domains(domains.rival, domains.splits, kept[0], kept[1], hoped)

    def scores(self, domains: Domains) -> Tensor:
        """(m, u) how much the relaxation gap of each open neuron contributes to the bound (Bunel et al. 2020, BaBSR)."""
        relaxation = self.relaxation(domains.splits, domains.slopes, domains.multipliers)
        spec, last = self._spec(domains.rival, torch.float32), len(self.graph) - 1
        kept = backward_bound(self.graph32, last, spec, self.inputs32, relaxation, keep=True).at_relus
        found = torch.zeros(len(domains), self.unstable)
        for node, a in kept.items():
            index, part = self.where[node], self.columns[node]
            a = a.squeeze(1).flatten(1)[:, index]
            box = self.bounds[node]
            low, high = (b.reshape(-1)[index].float() for b in (box.lower, box.upper))
            intercept = -a.clamp_max(0) * (-low * high / (high - low))
            tilt = a.clamp_min(0) * torch.minimum(domains.slopes[:, part] * -low, (1 - domains.slopes[:, part]) * high)
            found[:, part] = intercept + tilt
        return torch.where(domains.splits == 0, found, -1.0)

    def split(self, domains: Domains) -> Domains:
        """Both halves of every domain, at the candidate neuron whose worse half is bounded best."""
        tried = min(CANDIDATES, self.unstable)
        top = self.scores(domains).topk(tried, dim=1).indices
        m, last = len(domains), len(self.graph) - 1
        rival = domains.rival.repeat_interleave(2 * tried)
        splits = domains.splits.repeat_interleave(2 * tried, dim=0)
        sign = torch.tensor([1, -1], dtype=torch.int8).repeat(m * tried)
        splits[torch.arange(len(splits)), top.reshape(-1).repeat_interleave(2)] = sign
        slopes, terms = (t.repeat_interleave(2 * tried, dim=0) for t in (domains.slopes, domains.multipliers))
        relaxation = self.relaxation(splits, slopes, terms)
        lower = backward_bound(self.graph32, last, self._spec(rival, torch.float32), self.inputs32, relaxation).lower
        pairs = lower.reshape(m, tried, 2)
        best = (pairs.amin(dim=2) + 1e-3 * pairs.amax(dim=2)).argmax(dim=1)
        rows = ((torch.arange(m) * tried + best) * 2)[:, None] + torch.arange(2)
        rows = rows.reshape(-1)
        return Domains(
            rival[rows], splits[rows], slopes[rows], terms[rows], domains.lower.repeat_interleave(2).clamp(max=self.margin)
        )


@dataclass(frozen=True)
class Verdict:
    """What was found: the worst open bound less the allowance (positive: proved), domains bounded, whether time ran out."""

    lower: float
    domains: int
    timed_out: bool


def search(verifier: Verifier, domains: Domains, *, deadline: float, batch: int, most: int = 200_000) -> Verdict:
    """Splits and bounds the least bounded domains first, until all are closed, the deadline, or `most` open ones."""
    visited = len(domains)
    while len(domains):
        exhausted = bool((domains.splits != 0).all(dim=1).any())
        if time.perf_counter() > deadline or len(domains) > most or exhausted:
            return Verdict(float(domains.lower.min()) - verifier.margin, visited, True)
        order = domains.lower.argsort()
        chosen, rest = domains[order[:batch]], domains[order[batch:]]
        children = verifier.bound(verifier.split(chosen), STEPS)
        visited += len(children)
        domains = Domains.cat([rest, children[children.lower <= verifier.margin]])
    return Verdict(PROVED, visited, False)


def branch_and_bound(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float,
    norm: Norm = "linf",
    seconds: float = 60.0,
    iterations: int = 10,
    batch: int = 32,
) -> Certificates:
    """Which examples keep label y for every input within `epsilon` (and in [0, 1]); at most `seconds` for each.

    An example is abstained when its time ran out with domains open. Complete for Linf in the limit of time; run an attack
    first and pass only its survivors. Raises InputError before any compute for a layer without a relaxation.
    """
    started = time.perf_counter()
    check_batch(x, y)
    shape = tuple(x.shape[1:])
    graph, graph32 = trace(model, shape), trace(model, shape, dtype=torch.float32)
    check_relaxable(graph)
    logits_shape(graph, y)
    inputs, y = InputSet(x.detach().cpu().double(), epsilon, norm), y.cpu()
    with torch.no_grad():
        right = graph.forward(inputs.x)[-1].argmax(dim=1) == y
    worst, spent = torch.full((len(x),), -torch.inf, dtype=torch.float64), [0.0] * len(x)
    visited = [0] * len(x)
    granted = allowance(model, graph, x)
    for row in right.nonzero().squeeze(1).tolist():
        begun = time.perf_counter()
        part = slice(row, row + 1)
        for rounds in (0, iterations):  # most examples fall to plain bounds; only the others pay for better ones
            bounds = network_bounds(graph, inputs[part], search=graph32, iterations=rounds)
            lower, slopes = crown_margins(graph, inputs[part], y[part], bounds)
            lower = outward(lower)
            verifier = Verifier(graph, graph32, inputs[part], y[part], bounds, margin=float(granted[row]))
            worst[row] = lower.min() - verifier.margin
            if bool(worst[row] > 0):
                break
            root = verifier.bound(verifier.root(lower, slopes), ROOT_STEPS)
            root = root[root.lower <= verifier.margin]
            if not len(root):
                worst[row] = PROVED
                break
        else:
            found = search(verifier, root, deadline=begun + seconds, batch=batch)
            worst[row], visited[row] = found.lower, found.domains
        spent[row] = time.perf_counter() - begun
    details: dict[str, object] = {"domains": visited, "seconds": spent, "seconds_per_example": seconds}
    return bit_certificates("bab", inputs, worst, right, time.perf_counter() - started, details)
