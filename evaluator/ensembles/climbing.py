"""Many climbs in different rounds and at different steps, moved together: the state of every slot of the queue."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.apgd import MOMENTUM, RISING, checkpoints
from evaluator.attacks.rows import choose
from evaluator.ensembles.rounds import Round
from evaluator.threats.base import Threat


@dataclass(frozen=True)
class Slots:
    """One row per climb in play.

    example, round_, step: which task, and how often its points were looked at (int64, on the CPU, so that scheduling never
    waits for the device). The next move is number `step`, and the first `diversify` moves diversify. x, y, aim: input,
    label and aimed-at class (-1 for none); weights: (m, K) output diversification; points, previous: z_k and z_{k-1};
    gradient: of the loss at `points`; value: that loss; best, best_value, best_gradient: the highest so far; size: step
    sizes; rises, halved, best_then: APGD's bookkeeping since the last checkpoint, which was before move `turned`.
    """

    example: Tensor
    round_: Tensor
    step: Tensor
    turned: Tensor
    x: Tensor
    y: Tensor
    aim: Tensor
    weights: Tensor
    points: Tensor
    previous: Tensor
    gradient: Tensor
    value: Tensor
    best: Tensor
    best_value: Tensor
    best_gradient: Tensor
    size: Tensor
    rises: Tensor
    halved: Tensor
    best_then: Tensor

    def __len__(self) -> int:
        return len(self.example)

    def __getitem__(self, keep: Tensor) -> Slots:
        here = keep.to(self.x.device)
        cpu = ("example", "round_", "step", "turned")
        return Slots(**{f.name: getattr(self, f.name)[keep if f.name in cpu else here] for f in dataclasses.fields(self)})

    def join(self, other: Slots) -> Slots:
        """These rows and then those."""
        return Slots(**{f.name: torch.cat([getattr(self, f.name), getattr(other, f.name)]) for f in dataclasses.fields(self)})

    def replace(self, **changes: Tensor) -> Slots:
        return dataclasses.replace(self, **changes)


def seated(
    round_: Round, number: int, example: Tensor, x: Tensor, y: Tensor, aim: Tensor, weights: Tensor, points: Tensor
) -> Slots:
    """Fresh slots for round number `number` at their starting points, before their first look."""
    rows, none = len(example), torch.zeros(len(example), dtype=torch.float32, device=x.device)
    empty = torch.zeros_like(points)
    return Slots(
        example=example, round_=torch.full((rows,), number), step=torch.zeros(rows, dtype=torch.int64),
        turned=torch.full((rows,), round_.diversify + 1), x=x, y=y, aim=aim, weights=weights, points=points,
        previous=points, gradient=empty, value=none, best=points, best_value=none - torch.inf, best_gradient=empty,
        size=none, rises=none, halved=none > 0, best_then=none,
    )  # fmt: skip


class Schedule:
    """What the moves of every round do, as tables over (round, step)."""

    def __init__(self, rounds: tuple[Round, ...], epsilon: float) -> None:
        longest = max((r.length for r in rounds), default=0) + 2
        grid = [[(r, step) for step in range(longest)] for r in rounds]
        self._epsilon = epsilon
        self._lengths = torch.tensor([r.length for r in rounds], dtype=torch.int64)
        self._sizes = torch.tensor([[epsilon * _fixed_share(*cell) for cell in row] for row in grid], dtype=torch.float32)
        self._adaptive = torch.tensor([[r.schedule == "apgd" and step > r.diversify for r, step in row] for row in grid])
        self._momentum = torch.tensor([[r.schedule == "apgd" and step > r.diversify + 1 for r, step in row] for row in grid])
        self._turning = torch.tensor([[_turns(*cell) for cell in row] for row in grid])

    def moved(self, slots: Slots, threat: Threat) -> Tensor:
        """The points after each slot's next move."""
        project = threat.fixed(slots.x)
        sizes = torch.where(_at(self._adaptive, slots), slots.size, _at(self._sizes, slots))
        step = project(slots.points + threat.steepest_step(slots.gradient, sizes))
        blend = slots.points + MOMENTUM * (step - slots.points) + (1 - MOMENTUM) * (slots.points - slots.previous)
        return choose(_at(self._momentum, slots), project(blend), step)

    def advanced(self, slots: Slots, points: Tensor, value: Tensor, gradient: Tensor) -> Slots:
        """The slots at their new points: a first look starts the climb, a later one goes on with it."""
        move = slots.step + 1
        climbing = _at(self._adaptive, slots)
        better = (value > slots.best_value) | ~climbing
        new = slots.replace(
            step=move,
            points=points,
            previous=slots.points,
            gradient=gradient,
            value=value,
            best=choose(better, points, slots.best),
            best_value=torch.where(better, value, slots.best_value),
            best_gradient=choose(better, gradient, slots.best_gradient),
            rises=slots.rises + ((value > slots.value) & climbing),
            size=torch.where(climbing, slots.size, 2 * self._epsilon),
            best_then=torch.where(climbing, slots.best_then, value),
        )
        return self._reconsidered(new)

    def _reconsidered(self, slots: Slots) -> Slots:
        """APGD's checkpoints: the size halves, and the climb returns to its best point, where progress stalled."""
        due = _at(self._turning, slots)
        period = (slots.step - slots.turned).to(slots.x.device)
        rarely = slots.rises < RISING * period
        stuck = ~slots.halved & (slots.best_then >= slots.best_value)
        halve = due & (rarely | stuck)
        return slots.replace(
            turned=torch.where(due.cpu(), slots.step, slots.turned),
            points=choose(halve, slots.best, slots.points),
            gradient=choose(halve, slots.best_gradient, slots.gradient),
            size=torch.where(halve, slots.size / 2, slots.size),
            rises=torch.where(due, 0.0, slots.rises),
            halved=torch.where(due, halve, slots.halved),
            best_then=torch.where(due, slots.best_value, slots.best_then),
        )

    def last(self, slots: Slots) -> Tensor:
        """(m,) bool, on the CPU: the next move is the climb's last."""
        return slots.step == self._lengths[slots.round_]


def _at(table: Tensor, slots: Slots) -> Tensor:
    """(m,) the table's entry for each slot, on the slots' device."""
    return table[slots.round_, slots.step].to(slots.x.device)


def _fixed_share(round_: Round, step: int) -> float:
    """Step size over epsilon where it is fixed: 1 while diversifying, then the cosine from 1 to 0."""
    done = max(0, step - round_.diversify - 1)
    return (1 + math.cos(math.pi * min(done / round_.steps, 1.0))) / 2


def _turns(round_: Round, step: int) -> bool:
    """Whether APGD reconsiders when `step` looks have been made (the last checkpoint is the end of the climb)."""
    return round_.schedule == "apgd" and step - 1 - round_.diversify in checkpoints(round_.steps)[:-1]
