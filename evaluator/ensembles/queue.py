"""The search as a queue: every example climbs through its rounds, freed slots are refilled, a success cancels the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from evaluator.attacks.base import Batch
from evaluator.attacks.gradients import glance, gradient_of
from evaluator.attacks.losses import LOSSES, best_other, pick
from evaluator.attacks.rows import choose
from evaluator.ensembles.base import Step
from evaluator.ensembles.climbing import Schedule, Slots, seated
from evaluator.ensembles.rounds import Round, Standing
from evaluator.ensembles.tally import Tally
from evaluator.ensembles.targets import dual_norm, malt_order
from evaluator.models.meter import MeteredModel
from evaluator.threats.base import Threat, flat
from evaluator.threats.grid import on_grid

_CANDIDATES = 9


@dataclass
class Queue:
    """One search over `batch`. width: slots in play at once; what is found does not depend on it.

    fallen: (n,) int64 the round that broke each example, -1 for survivors; standing: see `Standing`.
    as_files: how many fell where a climb ended, rounded as a file would hold it, and not before.
    """

    model: MeteredModel
    batch: Batch
    threat: Threat
    rounds: tuple[Round, ...]
    width: int
    observe: Callable[[Step], None]
    tallies: list[Tally] = field(init=False)
    fallen: Tensor = field(init=False)
    standing: Standing = field(init=False)
    as_files: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        n, device = len(self.batch), self.batch.x.device
        self.tallies = [Tally() for _ in self.rounds]
        self.fallen = torch.full((n,), -1, dtype=torch.int64, device=device)
        infinite = torch.full((n,), torch.inf, device=device)
        dice = self.batch.draws.fork("audit").uniform(1).squeeze(1)
        start = self.threat.start(self.batch.x)
        self.standing = Standing(start, infinite, infinite.clone(), infinite.clone(), dice)
        self._schedule = Schedule(self.rounds, self.threat.epsilon)
        self._order: Tensor | None = None
        self._saturated = torch.zeros(n, dtype=torch.bool, device=device)
        self._settled = 0

    def run(self) -> None:
        """Searches until every example has fallen or gone through its rounds."""
        self._look_at_clean()
        pending = [(torch.arange(len(self.batch)), 0)] if len(self.batch) else []
        slots: Slots | None = None
        while pending or slots is not None:
            room = self.width - (0 if slots is None else len(slots))
            while pending and room > 0:
                examples, number = pending.pop()
                if len(examples) > room:
                    pending.append((examples[room:], number))
                    examples = examples[:room]
                new = self._seat(examples, number)
                slots = new if slots is None else slots.join(new)
                room -= len(examples)
            assert slots is not None
            slots, finished = self._advance(slots)
            pending += self._next_rounds(finished)
            self._report(slots)

    def _look_at_clean(self) -> None:
        """The margin of every clean input, from which standings are measured."""
        for rows in torch.arange(len(self.batch), device=self.batch.x.device).split(self.width):
            part = self.batch[rows]
            with self.tallies[0].spending(self.model.meter):
                logits = glance(self.model, part, self.threat, self.standing.points[rows])
            margin = pick(logits, part.y) - best_other(logits, part.y)
            self.standing.clean[rows], self.standing.margin[rows] = margin, margin

    def _seat(self, examples: Tensor, number: int) -> Slots:
        """Starts round `number` for `examples` and takes the first look."""
        round_ = self.rounds[number]
        here = examples.to(self.batch.x.device)
        part = self.batch[here].fork(round_.name)
        aim = torch.full_like(part.y, -1)
        if round_.aim is not None:
            aim = self._targets(here)[:, min(round_.aim, self._ranks() - 1)]
        start = self.threat.random_start(part.x, part.draws) if round_.start == "random" else self.standing.points[here]
        classes = self.model.classes
        weights = 2 * part.draws.fork("odi").uniform(classes) - 1
        slots = seated(round_, number, examples, part.x, part.y, aim, weights, start)
        with self.tallies[number].spending(self.model.meter):
            slots, logits = self._look(slots, start)
        self.tallies[number].tried += len(examples)
        return self._drop_fallen(slots, logits, start)

    def _advance(self, slots: Slots) -> tuple[Slots | None, list[tuple[Tensor, int]]]:
        """One move of every slot: (those still climbing, examples that finished a round without falling)."""
        if not len(slots):
            return None, []
        moved = self._schedule.moved(slots, self.threat)
        last = self._schedule.last(slots)
        finished: list[tuple[Tensor, int]] = []
        if bool(last.any()):
            finished = self._finish(slots[last], moved[last.to(moved.device)])
            slots, moved = slots[~last], moved[(~last).to(moved.device)]
            if not len(slots):
                return None, finished
        rounds, rows = slots.round_.unique(return_counts=True)
        with Tally().spending(self.model.meter) as spent:
            slots, logits = self._look(slots, moved)
        share = spent.seconds / len(slots)
        for number, count in zip(rounds.tolist(), rows.tolist(), strict=True):
            self.tallies[number].add_rows(count, count, share * count)
        slots = self._drop_fallen(slots, logits, moved)
        return (slots if len(slots) else None), finished

    def _look(self, slots: Slots, points: Tensor) -> tuple[Slots, Tensor]:
        """Forward and backward at `points`, each slot under its own loss: (slots advanced there, logits)."""
        with torch.enable_grad():
            leaf = points.detach().requires_grad_(True)
            logits = self.model(self.threat.apply(slots.x, leaf)).float()
            total, values = torch.zeros((), device=logits.device), torch.zeros(len(slots), device=logits.device)
            for number in slots.round_.unique().tolist():
                for diversifying in (True, False):
                    mask = (slots.round_ == number) & ((slots.step < self.rounds[number].diversify) == diversifying)
                    rows = mask.nonzero().squeeze(1).to(logits.device)
                    if len(rows):
                        value = self._loss(slots, rows, logits[rows], self.rounds[number], diversifying)
                        values[rows] = value.detach()
                        total = total + value.sum()
            gradient = gradient_of(total, leaf)
        self._saturated[slots.example.to(gradient.device)] |= ~flat(gradient).any(dim=1)
        self._note(slots, points, logits.detach())
        self._measure_slack(slots, logits.detach(), gradient)
        return self._schedule.advanced(slots, points.detach(), values, gradient), logits.detach()

    def _loss(self, slots: Slots, rows: Tensor, logits: Tensor, round_: Round, diversifying: bool) -> Tensor:
        if diversifying:
            return (slots.weights[rows] * logits).sum(dim=1)
        aim = None if round_.aim is None else slots.aim[rows]
        part = Batch(slots.x[rows], slots.y[rows], self.batch.draws, aim=aim)
        value = LOSSES[round_.loss](logits, part)
        if round_.loss == "margin":
            return value
        # Where a loss has had no gradient in float32 (a saturated softmax), the plain margin takes its place.
        saturated = self._saturated[slots.example[rows.cpu()].to(rows.device)]
        return torch.where(saturated, LOSSES["margin"](logits, part), value)

    def _note(self, slots: Slots, points: Tensor, logits: Tensor) -> None:
        """Keeps, per example, the smallest margin seen and where."""
        margin = pick(logits, slots.y) - best_other(logits, slots.y)
        example = slots.example.to(margin.device)
        standing = self.standing
        better = margin < standing.margin[example]
        standing.margin[example] = torch.where(better, margin, standing.margin[example])
        standing.points[example] = choose(better, points.detach(), standing.points[example])

    def _measure_slack(self, slots: Slots, logits: Tensor, gradient: Tensor) -> None:
        """Where the gradient just taken is that of the margin, it says how far the linearised boundary is."""
        plain = [r.loss == "margin" and r.aim is None for r in self.rounds]
        climbs = [slots.step[i] >= self.rounds[n].diversify for i, n in enumerate(slots.round_.tolist())]
        rows = (torch.tensor(plain)[slots.round_] & torch.tensor(climbs)).nonzero().squeeze(1).to(gradient.device)
        if not len(rows):
            return
        margin = pick(logits[rows], slots.y[rows]) - best_other(logits[rows], slots.y[rows])
        slack = margin / (self.threat.epsilon * dual_norm(self.threat, gradient[rows]))
        example = slots.example.to(rows.device)[rows]
        self.standing.slack[example] = torch.minimum(self.standing.slack[example], slack)

    def _drop_fallen(self, slots: Slots, logits: Tensor, points: Tensor) -> Slots:
        """Records who fell at `points` and frees their slots."""
        fell = Batch(slots.x, slots.y, self.batch.draws, reading=self.batch.reading).success(logits)
        if not bool(fell.any()):
            return slots
        where = fell.cpu()
        for number in slots.round_[where].unique().tolist():
            rows = where & (slots.round_ == number)
            example = slots.example[rows].to(self.fallen.device)
            self.fallen[example] = number
            self.standing.points[example] = points.detach()[rows.to(points.device)]
            self.tallies[number].broken += int(rows.sum())
        self._settled += int(where.sum())
        return slots[~where]

    def _finish(self, slots: Slots, points: Tensor) -> list[tuple[Tensor, int]]:
        """The last look of a round needs no gradient; returns who still stands, by round."""
        numbers = slots.round_.unique().tolist()
        with Tally().spending(self.model.meter) as spent:
            logits = glance(self.model, Batch(slots.x, slots.y, self.batch.draws), self.threat, points)
        self._note(slots, points, logits)
        for number in numbers:
            count = int((slots.round_ == number).sum())
            self.tallies[number].add_rows(count, 0, spent.seconds * count / len(slots))
        left = self._as_files(self._drop_fallen(slots, logits, points), points[self._standing(slots)])
        return [(left.example[left.round_ == number], number) for number in numbers]

    def _standing(self, slots: Slots) -> Tensor:
        """(m,) bool: whose example has not fallen yet."""
        return self.fallen[slots.example.to(self.fallen.device)] < 0

    def _as_files(self, slots: Slots, points: Tensor) -> Slots:
        """The ends of climbs are offered as a file holds them, too; returns who still stands."""
        twins = on_grid(slots.x, points, self.threat) if len(slots) else None
        if twins is None:
            return slots
        rounds, rows = slots.round_.unique(return_counts=True)
        with Tally().spending(self.model.meter) as spent:
            logits = glance(self.model, Batch(slots.x, slots.y, self.batch.draws), self.threat, twins)
        for number, count in zip(rounds.tolist(), rows.tolist(), strict=True):
            self.tallies[number].add_rows(count, 0, spent.seconds * count / len(slots))
        self._note(slots, twins, logits)
        left = self._drop_fallen(slots, logits, twins)
        self.as_files += len(slots) - len(left)
        return left

    def _next_rounds(self, finished: list[tuple[Tensor, int]]) -> list[tuple[Tensor, int]]:
        """Each example's next round whose condition its standing meets; those without one are settled."""
        waiting = []
        for examples, number in finished:
            left = examples
            for following in range(number + 1, len(self.rounds)):
                if not len(left):
                    break
                enters = self.rounds[following].when(self.standing[left.to(self.fallen.device)]).cpu()
                if bool(enters.any()):
                    waiting.append((left[enters], following))
                left = left[~enters]
            self._settled += len(left)
        return waiting

    def _ranks(self) -> int:
        return min(_CANDIDATES, self.model.classes - 1)

    def _targets(self, example: Tensor) -> Tensor:
        """(m, ranks) wrong classes in MALT's order, computed once per example, where its margin was smallest."""
        if self._order is None:
            self._order = torch.full((len(self.batch), self._ranks()), -1, dtype=torch.int64, device=self.batch.x.device)
        new = example[self._order[example, 0] < 0]
        if len(new):
            first_aimed = next(i for i, round_ in enumerate(self.rounds) if round_.aim is not None)
            with self.tallies[first_aimed].spending(self.model.meter):
                clean = self.threat.start(self.batch.x[new])
                self._order[new] = malt_order(self.model, self.batch[new], self.threat, clean, candidates=_CANDIDATES)
        return self._order[example]

    def _report(self, slots: Slots | None) -> None:
        if slots is not None and len(slots):
            name = self.rounds[int(slots.round_.min())].name
            self.observe(Step(name, self._settled, int((self.fallen < 0).sum())))
