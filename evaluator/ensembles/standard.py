"""The official ensemble: AutoAttack's verdict for a fraction of its passes, and a word when it cannot vouch for that.

Every example goes through short climbs; how many depends on how far the linearised boundary is (`Standing.slack`), with
random audits of the rest. A canary (Square, which needs no gradient) on a sample of the survivors tells whether gradients
could be trusted. Where it breaks some, the whole block is searched as AutoAttack would.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from evaluator.attacks.apgd import APGD
from evaluator.attacks.apgd_t import APGDT
from evaluator.attacks.base import Batch
from evaluator.attacks.brendel_bethge import BrendelBethge
from evaluator.attacks.fab_t import FABT
from evaluator.attacks.square import Square
from evaluator.ensembles.base import Ensemble, Search, Step
from evaluator.ensembles.by_threat import DENSE_AIMED, L0_SEARCH, L1_SEARCH, PATCH_SEARCH, POINT_SEARCH, ROTATION_SEARCH
from evaluator.ensembles.every_point import EveryPoint
from evaluator.ensembles.grid_climb import GridClimb
from evaluator.ensembles.in_expectation import in_expectation
from evaluator.ensembles.members import Member, Members
from evaluator.ensembles.outputs import readable
from evaluator.ensembles.queue import Queue
from evaluator.ensembles.rounds import Round, near
from evaluator.ensembles.sequence import Sequence, Stage
from evaluator.ensembles.tally import Tally
from evaluator.models.meter import MeteredModel
from evaluator.records.report import AttackRecord, Flag
from evaluator.threats.base import Threat
from evaluator.threats.traits import Trait
from evaluator.threats.union import Union

ROUNDS = (
    Round("ODI + PGD-10, margin", 10, "margin", schedule="cosine", diversify=2),
    Round("APGD-25, probability margin", 25, "pm", when=near(4.0, audit=0.1)),
    Round("APGD-15, cross-entropy", 15, "ce", when=near(1.5, audit=0.03)),
    Round("APGD-20, 1st target", 20, "dlr", aim=0, when=near(0.5, audit=0.03)),
    Round("ODI-7 + APGD-30, margin", 30, "margin", diversify=7, when=near(0.5, audit=0.02)),
    Round("APGD-20, 2nd target", 20, "dlr", aim=1, when=near(0.35)),
    Round("APGD-20, 3rd target", 20, "dlr", aim=2, when=near(0.25)),
    Round("ODI-7 + APGD-40, margin", 40, "margin", diversify=7, when=near(0.2)),
    Round("ODI-7 + APGD-60, margin", 60, "margin", diversify=7, when=near(0.1)),
    Round("ODI-7 + APGD-100, margin", 100, "margin", diversify=7, when=near(0.05)),
    *(Round(f"APGD-25, {rank + 1}th target", 25, "dlr", aim=rank, when=near(0.05)) for rank in range(3, 9)),
)
_HARDEST = 0.05  # slack below which FAB-T looks for the boundary from its other side
_BOUNDARY = Stage("FAB-T", FABT(steps=30, targets=3, stop_within=True))
_CLOSEST = 0.1  # margin left, as a share of the clean one, below which random search tries where gradients are poor guides
_SQUARE = Stage("Square", Square(queries=1500, hopeless=(500, 0.2)))
_CANARY = Stage("Square canary", Square(queries=1000))
_GRID = Stage("climb on the grid of files", GridClimb(steps=7))
_GRID_SHARE = 0.15  # of the examples that stand
_FULL_GRID = Stage("full climb on the grid of files", GridClimb(steps=40))
_FEW, _MANY = 2, 0.1  # examples that files may break and floats leave, as a number and as a share of those that stand
_CANARY_SHARE = 0.03  # of the examples; each is in or out by a draw of its own, whatever block it is in
FALLBACK = (
    Stage("full APGD-100, cross-entropy", APGD(steps=100, loss="ce")),
    Stage("full APGD-T", APGDT(steps=100, targets=9)),
    Stage("full FAB-T", FABT(steps=100, targets=9, stop_within=True)),
    Stage("full Brendel-Bethge", BrendelBethge(steps=100, stop_within=True)),
    Stage("full Square", Square(queries=5000)),
)


@dataclass(frozen=True)
class Standard:
    """The search described above.

    rounds, boundary, square, canary, files, fallback: parts of it, so that an ablation can drop one; files: the climb on the
    grid of files. width: examples in play at once.
    """

    rounds: tuple[Round, ...] = ROUNDS
    boundary: bool = True
    square: bool = True
    canary: bool = True
    files: bool = True
    fallback: tuple[Stage, ...] = FALLBACK
    width: int = 250
    name: str = "standard"

    def run(self, model: MeteredModel, batch: Batch, threat: Threat, observe: Callable[[Step], None]) -> Search:
        asked, flags = readable(model, batch, threat)
        rounds = tuple(r for r in self.rounds if r.aim is None or r.aim < model.classes - 1)
        queue = Queue(asked, batch, threat, rounds, self.width, observe)
        queue.run()
        search = _Trail(model, batch, threat, queue, observe)
        if self.boundary:
            search.run(_BOUNDARY, search.standing() & near(_HARDEST)(queue.standing))
        if self.files:
            flags += self._as_files(search, queue)
        searched = torch.zeros_like(search.standing())
        if self.square and Trait.PIXELWISE in threat.traits:  # the L2 version finds nothing that climbs have not
            known = queue.standing
            searched = search.standing() & (known.margin < _CLOSEST * known.clean)
            search.run(_SQUARE, searched)
        if self.canary:
            sampled = batch.draws.fork("canary").uniform(1).squeeze(1) < _CANARY_SHARE
            chosen = search.standing() & sampled & ~searched
            broken = search.run(_CANARY, chosen)
            alarm = broken >= max(2, math.ceil(0.002 * len(batch)))
            if alarm:
                evidence = (
                    f"a black-box search broke {broken} of {int(chosen.sum())} sampled survivors of the gradient attacks."
                )
                flags.append(Flag(check="black-box-beats-white-box", severity="unverified", evidence=evidence))
            for stage in self.fallback:
                search.run(stage, search.standing() & alarm)
        return Search(queue.standing.points, queue.fallen, search.records(rounds), flags)

    def _as_files(self, search: _Trail, queue: Queue) -> list[Flag]:
        """Climbs on the grid of files: a share of what stands, and all of it where files break what floats do not."""
        standing = search.standing()
        chosen = standing & (queue.batch.draws.fork("grid").uniform(1).squeeze(1) < _GRID_SHARE)
        broken, tried = queue.as_files + search.run(_GRID, chosen), int(standing.sum()) + queue.as_files
        alarm = broken >= max(1, math.ceil(0.002 * len(standing)))  # which costs an honest network a second climb
        broken += search.run(_FULL_GRID, search.standing() & alarm)
        if broken <= max(_FEW, _MANY * tried):
            return []
        evidence = f"{broken} of {tried} examples that climbs by floats left standing fell to multiples of 1/255, as files are."
        return [Flag(check="files-beat-floats", severity="unverified", evidence=evidence)]


class _Trail:
    """Attacks after the queue, each on the examples it is given, with their records."""

    def __init__(
        self, model: MeteredModel, batch: Batch, threat: Threat, queue: Queue, observe: Callable[[Step], None]
    ) -> None:
        self._model, self._batch, self._threat, self._queue, self._observe = model, batch, threat, queue, observe
        self._stages: list[Stage] = []
        self._tallies: list[Tally] = []

    def standing(self) -> torch.Tensor:
        return self._queue.fallen < 0

    def run(self, stage: Stage, chosen: torch.Tensor) -> int:
        """Runs one attack on `chosen` (n,) bool; returns how many it broke."""
        queue, rows = self._queue, chosen.nonzero().squeeze(1)
        number = len(queue.rounds) + len(self._stages)
        sequence = Sequence(stage.name, (stage,), slice_examples=queue.width, files=True)

        def report(step: Step) -> None:
            self._observe(Step(stage.name, len(chosen) - len(rows) + step.settled, int(self.standing().sum())))

        found = sequence.run(self._model, self._batch[rows], self._threat, report)
        fell = found.broken_by >= 0
        queue.fallen[rows[fell]] = number
        queue.standing.points[rows[fell]] = found.points[fell]
        record = found.records[0]
        tally = Tally(record.tried, record.broken, record.forward_rows, record.backward_rows, record.seconds)
        self._stages.append(stage)
        self._tallies.append(tally)
        return record.broken

    def records(self, rounds: tuple[Round, ...]) -> list[AttackRecord]:
        """One record per round and stage, in order."""
        names = [r.name for r in rounds] + [stage.name for stage in self._stages]
        survivors, records = len(self._batch), []
        for name, tally in zip(names, [*self._queue.tallies, *self._tallies], strict=True):
            survivors -= tally.broken
            records.append(AttackRecord(name=name, survivors=survivors, **vars(tally)))
        return records


def _members(threat: Threat, aimed: bool) -> Ensemble:
    assert isinstance(threat, Union)
    return Members(tuple(Member(member, standard(member, aimed=aimed)) for member in threat.members))


SEARCHES: dict[str, Callable[[Threat, bool], Ensemble]] = {
    "dense": lambda threat, aimed: DENSE_AIMED if aimed else Standard(),
    "members": _members,
    "every point": lambda threat, aimed: EveryPoint(),
    "views": lambda threat, aimed: in_expectation(threat),
    "l0": lambda threat, aimed: L0_SEARCH,
    "l1": lambda threat, aimed: L1_SEARCH,
    "patch": lambda threat, aimed: PATCH_SEARCH,
    "rotation": lambda threat, aimed: ROTATION_SEARCH,
    "points": lambda threat, aimed: POINT_SEARCH,
}


def standard(threat: Threat, *, aimed: bool = False) -> Ensemble:
    """The ensemble that gives the official verdict under `threat`: the one of `SEARCHES` that it names.

    The queue climbs by dense steepest steps, which is right for Linf and L2. A union is searched member by member, a finite
    set point by point, a physical threat in expectation over its views. Others have a search with a canary that needs no
    gradient (`by_threat`), "points" for whatever moves points of its own. aimed: batches have targets. The queue steers away
    from the true class, so climbs to the target take its place; all other searches go where the batch says.
    """
    return SEARCHES[threat.search](threat, aimed)
