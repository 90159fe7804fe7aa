"""One piece of a cell: the claims of an attack, an array or an archive, judged on a defense opened afresh."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from arena.running.bench import Bench
from arena.running.environments import environment
from arena.running.listening import Listener
from arena.running.zone import AttackZone
from evaluator.data import Examples
from evaluator.host.attack_session import AttackSession
from evaluator.judging.claims import Claims, check_claims
from evaluator.judging.compaction import compact_broken, expand
from evaluator.judging.goals import Goal
from evaluator.judging.verification import Checked, disagreements, verify
from evaluator.judging.watch import Observer, Watch
from evaluator.manifests.spec import Pack
from evaluator.models.meter import Meter, MeteredModel
from evaluator.models.reading import reading_of
from evaluator.records.adversarial_archive import AdversarialArchive
from evaluator.records.cell_report import CellCompleted, CellDigests, CellReport
from evaluator.records.intervals import clopper_pearson
from evaluator.threats import Threat, build
from evaluator.threats.base import flat


@dataclass(frozen=True)
class Ask:
    """How a source that asks the defense does so. meter: with the whole budget; model: the defense on a meter of its choice;
    seed: of its randomness; tick: poll it.

    broken: of what was returned for examples, (n,) bool, what the defense takes for a success; the scorer pays.
    """

    meter: Meter
    model: Callable[[Meter], MeteredModel]
    seed: int
    tick: Callable[[], None]
    broken: Callable[[Tensor, Examples], Tensor]


class Source(Protocol):
    """Where claims come from. asks: whether it needs the defense to make them."""

    @property
    def kind(self) -> Literal["python", "array", "replay"]: ...

    @property
    def asks(self) -> bool: ...

    def returned(self, piece: Examples, ask: Ask | None) -> Tensor:
        """One point per example of the piece, unchecked; the point of no perturbation is no claim."""


@dataclass(frozen=True)
class Played:
    """A submitted attack in its zone. It is called once for each turn of the goal, with an equal part of what rows are left."""

    zone: AttackZone
    pack: Pack
    goal: Goal
    kind: Literal["python"] = "python"
    asks: bool = True

    def returned(self, piece: Examples, ask: Ask | None) -> Tensor:
        if ask is None:
            raise ValueError("an attack asks a defense")
        turns = list(self.goal.turns(piece))
        if len(turns) == 1:
            returned = self._turn(turns[0], ask, ask.model(ask.meter))
            return self.goal.points(returned, piece, build(self.pack.challenge.threat))
        points = build(self.pack.challenge.threat).start(piece.x)
        standing = torch.arange(len(piece))
        for number, turn in enumerate(turns):
            part = turn[standing]
            if not len(part):
                break
            share = Meter(((ask.meter.budget or 0) - ask.meter.cost) // (len(turns) - number))
            returned = self._turn(part, ask, ask.model(share))
            ask.meter.charge(forward=share.forward_rows, backward=share.backward_rows)
            if returned.shape != points[standing].shape or returned.dtype != points.dtype:
                return returned
            points[standing] = returned
            standing = standing[~ask.broken(returned, part)]
        return points

    def _turn(self, piece: Examples, ask: Ask, model: MeteredModel) -> Tensor:
        """What the attack returns when it is called once."""
        challenge = self.pack.challenge
        with self.zone.open() as transport:
            session = AttackSession(
                transport,
                model,
                piece,
                challenge.threat,
                challenge.access,
                seed=ask.seed,
                seconds=self.zone.limits.seconds,
                tick=ask.tick,
            )
            return session.run()


@dataclass(frozen=True)
class Submitted:
    """An array submission: points (n, *point) of all ranked examples, in data order, or the one perturbation of all."""

    points: Tensor
    goal: Goal
    threat: Threat
    kind: Literal["array"] = "array"
    asks: bool = False

    def returned(self, piece: Examples, ask: Ask | None) -> Tensor:
        return self.goal.points(self.points if self.goal.universal else self.points[piece.ids], piece, self.threat)


@dataclass(frozen=True)
class Stored:
    """Adversarial inputs that were verified on other defenses."""

    archive: AdversarialArchive
    threat: Threat
    kind: Literal["replay"] = "replay"
    asks: bool = False

    def returned(self, piece: Examples, ask: Ask | None) -> Tensor:
        return expand(self.archive, piece, self.threat)[0]


@dataclass(frozen=True)
class CellRun:
    """What is played: the defense on its bench, the attack's name and digest for the report, where claims come from.

    seed: the scorer's. listener: whom its progress is reported to.
    """

    bench: Bench
    name: str
    digest: str
    source: Source
    seed: int
    listener: Listener

    def play(self, piece: Examples, *, budget: int) -> CellCompleted:
        """Judges one piece. budget: rows that the source may ask. Raises AttackFault, SubmissionError (of the defense), ..."""
        threat, lane = self.bench.threat, self.bench.lane
        asked, checks = Meter(budget if self.source.asks else None), Meter()
        reading, goal = reading_of(lane.manifest), self.bench.goal
        watch = Watch(len(piece), asked, Observer(self.listener.on_progress, self.listener.cancelled))
        first: Checked | None = None
        if self.source.asks:
            watch.stage("attacking", attack=self.name)
            with lane.open(piece.classes, *piece.ids[:1].tolist(), 0) as model:

                def on(meter: Meter) -> MeteredModel:
                    return MeteredModel(model, meter, classes=piece.classes, tick=watch.tick, reading=reading)

                same = on(checks)
                piece = goal.aimed(piece, same)

                def broken_there(returned: Tensor, part: Examples) -> Tensor:
                    claims, claimed = _claims(returned, part, threat)
                    return verify(same, part, threat, claims.points, claimed, self.seed, reading).broken

                first_id = 0 if goal.universal else int(piece.ids[0])
                ask = Ask(asked, on, _attack_seed(self.seed, first_id), watch.tick, broken_there)
                claims, claimed = _claims(self.source.returned(piece, ask), piece, threat)
                first = verify(same, piece, threat, claims.points, claimed, self.seed, reading)
        else:
            claims, claimed = _claims(self.source.returned(piece, None), piece, threat)
        watch.stage("verifying")
        with lane.open(piece.classes, *piece.ids[:1].tolist(), 1) as model:
            fresh = MeteredModel(model, checks, classes=piece.classes, tick=watch.tick, reading=reading)
            piece = piece if self.source.asks else goal.aimed(piece, fresh)
            checked = verify(fresh, piece, threat, claims.points, claimed, self.seed, reading)
            broken = checked.standing & checked.broken
            archive = compact_broken(fresh, piece[broken], threat, claims.points[broken], self.seed, reading)
        flags = [] if first is None or reading.random else disagreements(first.correct, checked, first.broken)
        flags += lane.doubts.taken()
        robust = checked.standing & ~broken
        far = threat.distance(piece.x, claims.points).tolist()
        report = CellReport(
            kind=self.source.kind,
            challenge=self.bench.pack.slug,
            attack=self.name,
            defense=lane.manifest.name,
            examples=len(piece),
            ids=piece.ids.tolist(),
            clean_accuracy=float(checked.correct.double().mean()),
            robust_accuracy=float(robust.double().mean()),
            robust_interval=clopper_pearson(int(robust.sum()), len(piece)),
            correct_bits=checked.correct.int().tolist(),
            robust_bits=robust.int().tolist(),
            unbroken_bits=[] if piece.target is None else checked.standing.int().tolist(),
            targets=[] if piece.target is None else piece.target.tolist(),
            distances=[distance if fell else None for distance, fell in zip(far, broken.tolist(), strict=True)],
            read_as=_read_as(checked.read_as, broken),
            violations=claims.violations,
            forward_rows=asked.forward_rows,
            backward_rows=asked.backward_rows,
            budget_rows=asked.budget,
            check_rows=checks.forward_rows,
            seconds=watch.seconds,
            flags=flags,
            verified=not any(flag.severity == "unverified" for flag in flags),
            seed=self.seed,
            digests=CellDigests(
                attack=self.digest, defense=self.bench.copy.digest, pack=self.bench.pack.digest, data=piece.digest
            ),
            environment=environment(lane, sandboxed=self.source.asks or lane.name == "host"),
        )
        return CellCompleted(report, archive.to_bytes())


def _read_as(labels: Tensor | None, broken: Tensor) -> list[int | None]:
    """The class given to each break, None for other examples; empty where no single answer decided."""
    if labels is None:
        return []
    return [label if fell else None for label, fell in zip(labels.tolist(), broken.tolist(), strict=True)]


def _claims(returned: Tensor, piece: Examples, threat: Threat) -> tuple[Claims, Tensor]:
    """The checked claims, and (n,) bool those that claim anything: a point of no perturbation does not."""
    claims = check_claims(returned, piece, threat)
    moved = flat(claims.points != threat.start(piece.x)).any(dim=1)
    return claims, claims.valid & moved


def _attack_seed(seed: int, first_id: int) -> int:
    """The attack's seed tells nothing of the scorer's. Each piece of a cell has its own, but for one perturbation of all."""
    return int.from_bytes(hashlib.sha256(f"attack {seed} {first_id}".encode()).digest()[:4])
