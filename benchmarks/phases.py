"""Can a model tell what it is asked for? Records what passes look like in every phase, and trains a tree on it.

    python -m benchmarks.phases [--images 24] [--network mnist-pgd] [--seeds 4]

Prints how often a small tree, trained on the traffic of some evaluations, names the phase of passes of others: of passes as the
scheduler composes them, and of passes as they would be without it; then how many rows the composing adds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evaluator.checks import Honest
from evaluator.data.tensors import Examples, examples
from evaluator.defenses.recipes import BASELINES
from evaluator.ensembles import standard
from evaluator.host.load import load_submission
from evaluator.host.proxy import RemoteModel
from evaluator.host.serve import Host
from evaluator.host.wire import Message
from evaluator.judging import Defense, Verdict, evaluate
from evaluator.judging.evaluation import COMPANY
from evaluator.manifests.data_specs import DataSpec
from evaluator.models.company import files
from evaluator.models.scheduler import LARGEST, Scheduler
from evaluator.records.cost import cost
from evaluator.threats import Linf, Threat

Array = NDArray[np.float64]
REMEMBERED = 4  # earlier passes that a pass is compared with
PURPOSES = {  # by a function on the call stack; a question from elsewhere is of the search
    "examine": "checks",
    "closest": "audit",
    "grown": "audit",
    "young": "audit",
    "verify": "verification",
    "evaluate": "clean",
}
_PATCHED = ("_ask", "_passed", "_size", "_beside", "_answer")
SEARCH, CANARY, ADAPTIVE = "search", "canary", "adaptive attack"


@dataclass
class Traffic:
    """What one evaluation's passes look like to the model, and what they were for.

    features, one row a pass: its size; whether it has a graph; the share of files; rows that are in it twice; the least and the
    median distance of its rows to their nearest ones; the same three for earlier passes; gradients asked since the last pass.
    """

    features: list[list[float]] = field(default_factory=list)
    purposes: list[str] = field(default_factory=list)
    purpose: str = ""
    earlier: list[Tensor] = field(default_factory=list)
    gradients: int = 0

    def saw(self, x: Tensor) -> None:
        """The model is asked about x (n, *shape)."""
        rows = x.detach().flatten(1)
        apart = torch.cdist(rows, rows) + torch.diag(torch.full((len(rows),), torch.inf))
        near = apart.amin(dim=1)
        before = torch.cat(self.earlier) if self.earlier else torch.full((1, rows.shape[1]), 9.0)
        behind = torch.cdist(rows, before).amin(dim=1)
        alone = len(rows) == 1
        self.features.append(
            [
                float(len(rows)),
                float(x.requires_grad),
                float(files(x).double().mean()),
                float((near < 1e-5).sum()),
                0.0 if alone else float(near.min()),
                0.0 if alone else float(near.median()),
                float((behind < 1e-5).sum()),
                float(behind.min()),
                float(behind.median()),
                float(self.gradients),
            ]
        )
        self.earlier = [*self.earlier, rows.clone()][-REMEMBERED:]
        self.purposes.append(self.purpose)
        self.gradients = 0


class _Seen(nn.Module):
    """The network, which notes what each pass looks like."""

    def __init__(self, network: nn.Module, traffic: Traffic) -> None:
        super().__init__()
        self.network, self.traffic = network, traffic

    def forward(self, x: Tensor) -> Tensor:
        self.traffic.saw(x)
        return self.network(x)  # type: ignore[no-any-return]


class _HostHere:
    """A line to a host in this process: what the model sees is what it sees in a sandbox."""

    def __init__(self, host: Host, traffic: Traffic) -> None:
        self._host, self._traffic = host, traffic

    def ask(self, request: Message, *, limit: int, doing: str) -> Message:
        self._traffic.gradients += request.op == "vjp"
        reply = self._host.reply(request)
        return Message(reply.op, reply.fields, {name: tensor.detach() for name, tensor in reply.tensors.items()})


def purpose(frame: FrameType | None) -> str:
    """For whom a question is asked, by the functions from which it is asked."""
    while frame is not None:
        name, file = frame.f_code.co_name, frame.f_code.co_filename
        if file.endswith("automatic.py"):
            return ADAPTIVE
        if "canary" in getattr(frame.f_locals.get("stage"), "name", ""):
            return CANARY
        if name in PURPOSES:
            return PURPOSES[name]
        frame = frame.f_back
    return SEARCH


@contextmanager
def noted(traffic: Traffic, *, mixed: bool) -> Iterator[None]:
    """Notes for each pass what one of its rows is asked for. mixed: False asks each question as one pass, without company."""
    dice = np.random.default_rng(0)
    ask, passed, size, beside, answer = (getattr(Scheduler, name) for name in _PATCHED)
    purposes: dict[int, str] = {}

    def asked(self: Scheduler, question: object) -> object:
        purposes[id(question)] = purpose(sys._getframe(1))
        return ask(self, question)

    def passing(self: Scheduler, parts: Sequence[tuple[object, Tensor]]) -> None:
        rows = [purposes[id(question)] for question, rows in parts for _ in range(len(rows))]
        traffic.purpose = rows[int(dice.integers(len(rows)))]
        passed(self, parts)

    def alone(self: Scheduler, urgent: Sequence[object], patient: Sequence[object]) -> None:
        for question in (*urgent, *patient):
            answer(self, [question], [])

    Scheduler._ask, Scheduler._passed = asked, passing  # type: ignore[method-assign, assignment]
    if not mixed:
        Scheduler._answer = alone  # type: ignore[method-assign, assignment]
        Scheduler._size = lambda self: LARGEST  # type: ignore[method-assign]
        Scheduler._beside = lambda self, x: x[:0]  # type: ignore[method-assign]
    try:
        yield
    finally:
        for name, method in zip(_PATCHED, (ask, passed, size, beside, answer), strict=True):
            setattr(Scheduler, name, method)


def recorded(network: nn.Module, part: Examples, threat: Threat, seed: int, *, mixed: bool) -> tuple[Traffic, Verdict]:
    """One evaluation of `network` in a host, and its traffic."""
    traffic = Traffic()
    line = _HostHere(Host(_Seen(network, traffic)), traffic)
    remote = RemoteModel(line, classes=part.classes, beside=lambda: _HostHere(Host(network), Traffic()))
    with noted(traffic, mixed=mixed):
        verdict = evaluate(Defense.of(remote), part, threat, Honest(standard(threat)), seed=seed)
    return traffic, verdict


class Tree:
    """A classification tree (Breiman et al. 1984): splits by Gini impurity, all classes weighing the same."""

    def __init__(self, depth: int = 4, least: int = 8) -> None:
        self._depth, self._least = depth, least
        self._root: object = None

    def fit(self, x: Array, y: NDArray[np.int64]) -> Tree:
        """x (n, features), y (n,) class numbers."""
        classes = int(y.max()) + 1
        weights = 1.0 / np.maximum(np.bincount(y, minlength=classes), 1)
        self._root = self._grown(x, np.eye(classes)[y] * weights[y][:, None], self._depth)
        return self

    def named(self, x: Array) -> NDArray[np.int64]:
        """(n,) class numbers."""
        return np.array([self._leaf(self._root, row) for row in x], dtype=np.int64)

    def _grown(self, x: Array, mass: Array, depth: int) -> object:
        best: tuple[float, int, float] | None = None
        for number in range(x.shape[1] if depth else 0):
            for threshold in np.unique(np.quantile(x[:, number], np.linspace(0.02, 0.98, 33))):
                below = x[:, number] <= threshold
                if min(int(below.sum()), int((~below).sum())) < self._least:
                    continue
                gini = sum(
                    float(part.sum() - (part**2).sum() / part.sum()) for part in (mass[below].sum(0), mass[~below].sum(0))
                )
                if best is None or gini < best[0]:
                    best = gini, number, float(threshold)
        if best is None:
            return int(mass.sum(axis=0).argmax())
        _, number, threshold = best
        below = x[:, number] <= threshold
        return number, threshold, self._grown(x[below], mass[below], depth - 1), self._grown(x[~below], mass[~below], depth - 1)

    def _leaf(self, node: object, row: Array) -> int:
        while isinstance(node, tuple):
            number, threshold, low, high = node
            node = low if row[number] <= threshold else high
        assert isinstance(node, int)
        return node


@dataclass(frozen=True)
class Told:
    """How well phases are distinguished. accuracy: the mean over phases of the share of their passes that are named right."""

    accuracy: float
    phases: dict[str, float]

    @property
    def chance(self) -> float:
        return 1 / len(self.phases)


def told(training: Sequence[Traffic], held_out: Sequence[Traffic], fewest: int = 20) -> Told:
    """Trains a tree on some evaluations' traffic and names the phases of others'. fewest: passes that a phase needs in both."""
    train, test = ([purpose for traffic in some for purpose in traffic.purposes] for some in (training, held_out))
    phases = sorted(name for name in set(train) if min(train.count(name), test.count(name)) >= fewest)
    x, y = _table(training, phases)
    seen, truth = _table(held_out, phases)
    right = Tree().fit(x, y).named(seen) == truth
    by_phase = {name: float(right[truth == number].mean()) for number, name in enumerate(phases)}
    return Told(sum(by_phase.values()) / len(by_phase), by_phase)


def _table(some: Sequence[Traffic], phases: list[str]) -> tuple[Array, NDArray[np.int64]]:
    rows = [
        (features, phases.index(purpose))
        for traffic in some
        for features, purpose in zip(traffic.features, traffic.purposes, strict=True)
        if purpose in phases
    ]
    return np.array([features for features, _ in rows]), np.array([number for _, number in rows], dtype=np.int64)


def company(verdict: Verdict) -> float:
    """The cost of what was asked so that passes look alike, as a share of all else."""
    (beside,) = (record for record in verdict.attacks if record.name == COMPANY)
    mixing = cost(beside.forward_rows, beside.backward_rows)
    return mixing / (cost(verdict.forward_rows, verdict.backward_rows) - mixing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--network", default="mnist-pgd")
    parser.add_argument("--seeds", type=int, default=4)
    asked = parser.parse_args()
    network = load_submission(BASELINES / asked.network).eval().requires_grad_(False)
    part, threat = examples(DataSpec(dataset="mnist", examples=asked.images)), Linf(0.3)
    for mixed in (True, False):
        runs = [recorded(network, part, threat, seed, mixed=mixed) for seed in range(asked.seeds)]
        traffic = [traffic for traffic, _ in runs]
        found = told(traffic[::2], traffic[1::2])
        shares = ", ".join(f"{name} {share:.0%}" for name, share in found.phases.items())
        how = "composed by the scheduler" if mixed else "as they are asked"
        print(f"{how}: {found.accuracy:.0%} of passes named right, {found.chance:.0%} by chance ({shares})")
        print(f"  rows for company: {max(company(verdict) for _, verdict in runs):.1%} of all others at most, by cost")


if __name__ == "__main__":
    main()
