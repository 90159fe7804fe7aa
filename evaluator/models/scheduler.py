"""Between everybody who asks and one opened model: composes the passes that the model sees.

Whatever is asked at the same time (a climb, a check, the clean images) is thrown together, shuffled by a secret seed and cut
into passes of secret sizes. Rows of the kind that a pass lacks are put in between (`evaluator.models.company`). An attack still
calls the model and gets its answer; a check, too. What a model can read from a pass, its size, its company, its share of files,
is to say nothing of what the pass is for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from evaluator.models.company import Company, files
from evaluator.models.meter import Meter, well_formed
from evaluator.models.turns import is_patient, together, wait_for_answer

Model = Callable[[Tensor], Tensor]
LARGEST = 250  # rows of a pass; a model whose graphs are larger than the memory is asked in parts by its host
RIDERS = 6  # rows of the patient in a pass of others, so that they last as long as a search does
SMALL = 8  # rows that are not parted: so few are asked by a search whose last examples stand


@dataclass(eq=False)
class _Pass:
    """One pass: its rows, and what was asked of it. taken: how many rows' gradients are wanted, for the meter."""

    leaf: Tensor
    logits: Tensor
    cotangent: Tensor | None = None
    gradient: Tensor | None = None
    taken: int = 0


@dataclass(eq=False)
class _Question:
    """Rows that somebody asks about. order: (n,) int64, secret; patient: they may wait for room.

    pieces: (pass, rows of the question, their places in it).
    """

    x: Tensor
    order: Tensor
    differentiable: bool
    patient: bool = False
    passed: int = 0
    pieces: list[tuple[_Pass, Tensor, Tensor]] = field(default_factory=list)
    logits: Tensor | None = None
    cotangent: Tensor | None = None
    gradient: Tensor | None = None

    @property
    def left(self) -> int:
        """How many of its rows have been in no pass yet."""
        return len(self.order) - self.passed

    def take(self, count: int) -> Tensor:
        """The next rows, (count,) int64."""
        self.passed += count
        return self.order[self.passed - count : self.passed]


Parts = Sequence[tuple[_Question, Tensor]]  # rows of questions that go into one pass


class Scheduler:
    """Answers questions about one opened model.

    model: as it was opened; columns: of its answers. company: makes the rows that are put in between. meter: charged for those,
    and for gradients that nobody wanted of the pass that somebody did. seed: secret, of order and sizes. tick: called before
    every pass. Raises SubmissionError when an answer has the wrong type, shape or dtype.
    """

    def __init__(
        self, model: Model, columns: int, meter: Meter, seed: int, company: Company, tick: Callable[[], None] = lambda: None
    ) -> None:
        self._model, self._columns, self._meter, self._company, self._tick = model, columns, meter, company, tick
        self._dice = np.random.default_rng((seed + 19) % 2**63)
        self._asked: list[_Question] = []
        self._sloped: list[_Question] = []

    def together(self, *acts: Callable[[], None]) -> None:
        """Runs several who ask side by side, their rows in the same passes."""
        together(acts, self._serve)

    def logits(self, x: Tensor) -> Tensor:
        """x (n, *shape) -> logits, without a graph."""
        return _logits(self._ask(self._question(x, differentiable=False)))

    def differentiable(self, x: Tensor) -> Tensor:
        """x (n, *shape) -> logits in the graph of x."""
        answer: Tensor = _Asked.apply(x, self)  # type: ignore[no-untyped-call]
        return answer

    def _question(self, x: Tensor, *, differentiable: bool) -> _Question:
        order = torch.from_numpy(self._dice.permutation(len(x)))
        return _Question(x.detach(), order, differentiable, patient=is_patient() and not differentiable)

    def _ask(self, question: _Question) -> _Question:
        self._asked.append(question)
        wait_for_answer(self._serve, lambda: question.logits is not None)
        return question

    def _slope(self, question: _Question, cotangent: Tensor) -> Tensor:
        question.cotangent, question.gradient = cotangent, None
        self._sloped.append(question)
        wait_for_answer(self._serve, lambda: question.gradient is not None)
        assert question.gradient is not None
        return question.gradient

    def _serve(self) -> None:
        """Gradients first, so that those who climb together stay together; then those in a hurry, with room for others."""
        if self._sloped:
            sloped, self._sloped = self._sloped, []
            self._differentiate(sloped)
            return
        urgent = [question for question in self._asked if not question.patient] or self._asked
        for shape in dict.fromkeys(question.x.shape[1:] for question in urgent):
            of_shape = [question for question in self._asked if question.x.shape[1:] == shape]
            now = [question for question in of_shape if question in urgent]
            self._answer(now, [question for question in of_shape if question not in now])
        self._asked = [question for question in self._asked if question.logits is None]

    def _answer(self, urgent: Sequence[_Question], patient: Sequence[_Question]) -> None:
        """Everything that the urgent ask; of what the patient ask as much as has room."""
        while total := sum(question.left for question in urgent):
            size = max(self._size(), total if total <= SMALL else 1)
            parts = self._drawn(urgent, size)
            room = min(RIDERS, size - sum(len(rows) for _, rows in parts))
            self._passed([*parts, *self._drawn(patient, room)])
        for question in (*urgent, *patient):
            if not question.left and question.logits is None:
                question.logits = _gathered(question, [done.logits.detach() for done, _, _ in question.pieces])

    def _drawn(self, questions: Sequence[_Question], count: int) -> Parts:
        """At most so many rows of the questions, each row as likely as any other."""
        left = [question.left for question in questions]
        count = min(count, sum(left))
        if not count:
            return []
        shares = [count] if len(left) == 1 else self._dice.multivariate_hypergeometric(left, count).tolist()
        return [(question, question.take(share)) for question, share in zip(questions, shares, strict=True) if share]

    def _size(self) -> int:
        """Rows of the next pass: a quarter of the passes are small, the others are drawn by their logarithm."""
        if self._dice.random() < 1 / 4:
            return int(self._dice.integers(1, SMALL + 1))
        return int(np.exp(self._dice.uniform(np.log(SMALL), np.log(LARGEST + 1))))

    def _passed(self, parts: Parts) -> None:
        """One pass over these rows and their company."""
        self._tick()
        x = torch.cat([question.x[rows] for question, rows in parts])
        beside = self._beside(x)
        self._company.asked(x)
        places = torch.arange(len(x))
        if len(beside) or len(parts) > 1:
            order = torch.from_numpy(self._dice.permutation(len(x) + len(beside)))
            x, places = torch.cat([x, beside])[order], order.argsort()
            self._meter.charge(forward=len(beside))
        differentiable = any(question.differentiable for question, _ in parts)
        with torch.set_grad_enabled(differentiable):
            leaf = x.requires_grad_(differentiable)
            done = _Pass(leaf, well_formed(self._model(leaf), len(leaf), self._columns))
        first = 0
        for question, rows in parts:
            question.pieces.append((done, rows, places[first : first + len(rows)]))
            first += len(rows)

    def _beside(self, x: Tensor) -> Tensor:
        """Rows of the kind that is rarer in x than a secret share of the pass."""
        count = int(files(x).sum())
        share = float(self._dice.beta(2, 2))
        wanted = share / (1 - share) * (len(x) - count) - count
        as_files = wanted > 0
        if not as_files:
            wanted = (1 - share) / share * count - (len(x) - count)
        number = min(int(wanted), self._company.left, LARGEST - len(x), 2 * len(x))
        return self._company.made(number, x, as_files=as_files) if number > 0 else x[:0]

    def _differentiate(self, questions: Sequence[_Question]) -> None:
        """Gradients of several questions, one backward pass for each pass that they are in."""
        passes: dict[int, _Pass] = {}
        for question in questions:
            assert question.cotangent is not None
            for done, rows, places in question.pieces:
                if done.cotangent is None:
                    done.cotangent, done.taken = torch.zeros_like(done.logits), 0
                done.cotangent[places] = question.cotangent[rows]
                done.taken += len(rows)
                passes[id(done)] = done
        for done in passes.values():
            self._meter.charge(backward=len(done.leaf) - done.taken)
            done.gradient = torch.zeros_like(done.leaf)
            if done.logits.requires_grad:
                (found,) = torch.autograd.grad(done.logits, done.leaf, done.cotangent, retain_graph=True, allow_unused=True)
                done.gradient = done.gradient if found is None else found
            done.cotangent = None
        for question in questions:
            question.gradient = _gathered(question, [_gradient(piece) for piece, _, _ in question.pieces])
        for done in passes.values():
            done.gradient = None


class Scheduled(nn.Module):
    """A model whose questions go through a scheduler: x (n, *shape) -> logits, differentiable in x once.

    model: the one that was opened.
    """

    def __init__(self, scheduler: Scheduler, model: Model) -> None:
        super().__init__()
        self.scheduler, self.model = scheduler, model

    def forward(self, x: Tensor) -> Tensor:
        if not len(x):
            return self.model(x)
        if torch.is_grad_enabled() and x.requires_grad:
            return self.scheduler.differentiable(x)
        return self.scheduler.logits(x)

    def together(self, *acts: Callable[[], None]) -> None:
        """Runs several who ask this model side by side, their rows in the same passes."""
        self.scheduler.together(*acts)


@runtime_checkable
class _Versatile(Protocol):
    """A model with other backward passes, and with seeds (`evaluator.host.proxy.RemoteModel`)."""

    def with_backward(self, name: str) -> Model: ...

    def with_seed(self, seed: int) -> Model: ...


class _ScheduledVersatile(Scheduled):
    """A scheduled model with other backward passes, and with seeds: those are asked apart, not through the scheduler."""

    def __init__(self, scheduler: Scheduler, model: _Versatile) -> None:
        super().__init__(scheduler, model)  # type: ignore[arg-type]
        self._versatile = model

    def with_backward(self, name: str) -> Model:
        """The opened model with another backward pass."""
        return self if name == "own" else self._versatile.with_backward(name)

    def with_seed(self, seed: int) -> Model:
        """The opened model, its randomness the same in every pass."""
        return self._versatile.with_seed(seed)


def scheduled(scheduler: Scheduler, model: Model) -> Scheduled:
    """`model`, asked through its scheduler."""
    return _ScheduledVersatile(scheduler, model) if isinstance(model, _Versatile) else Scheduled(scheduler, model)


class _Asked(torch.autograd.Function):
    """Joins a question and its gradient into one autograd node."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scheduler: Scheduler) -> Tensor:
        ctx.scheduler = scheduler
        ctx.question = scheduler._ask(scheduler._question(x, differentiable=True))
        return _logits(ctx.question)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
        return ctx.scheduler._slope(ctx.question, cotangent.detach()), None


def _logits(question: _Question) -> Tensor:
    assert question.logits is not None
    return question.logits


def _gradient(done: _Pass) -> Tensor:
    assert done.gradient is not None
    return done.gradient


def _gathered(question: _Question, of_passes: Sequence[Tensor]) -> Tensor:
    """The rows of a question, in its order, out of those of the passes they were in."""
    found: Tensor | None = None
    for (_, rows, places), answers in zip(question.pieces, of_passes, strict=True):
        if found is None:
            found = answers.new_empty(len(question.x), *answers.shape[1:])
        found[rows] = answers[places]
    return found if found is not None else torch.zeros(0)
