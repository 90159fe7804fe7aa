"""The evaluation of one model on one set of examples: clean pass, search, and verification of every claim on a fresh model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.checks.audit import CHECK as REPLAY
from evaluator.checks.audit import KEPT, Auditor, unlike
from evaluator.data.tensors import Examples
from evaluator.draws import Draws
from evaluator.ensembles.base import Ensemble
from evaluator.ensembles.tally import Tally
from evaluator.judging.closest_points import STAGE, closest, closest_by_votes
from evaluator.judging.compaction import compact_broken
from evaluator.judging.corruption_table import table_of
from evaluator.judging.defense import Defense
from evaluator.judging.goals import UNTARGETED, Goal
from evaluator.judging.verification import disagreements, read, verify
from evaluator.judging.watch import Observer, Watch
from evaluator.models.company import Company, Move
from evaluator.models.meter import Meter, MeteredModel
from evaluator.models.reservoir import Reservoir
from evaluator.models.scheduler import Scheduler, scheduled
from evaluator.records.adversarial_archive import AdversarialArchive
from evaluator.records.report import AttackRecord, CheckRecord, Flag
from evaluator.threats.base import Threat
from evaluator.threats.corruptions import Corruptions
from evaluator.threats.physical import Physical

COMPANY = "company of the passes"


@dataclass(frozen=True)
class Verdict:
    """Per-example result: see `evaluator.records.report.Report` for the meaning of each field.

    unbroken: what stands without any attack, the rest of which `robust` is; target: (n,) the class that was wanted, or None.
    queries: (n,) rows until an example fell, of a search that counts them, else None. points: what broke each example;
    adversarial: the same in its stored form, None unless it was asked for. errors: (n, kinds, severities) bool, None unless
    common corruptions were asked about.
    """

    correct: Tensor
    robust: Tensor
    unbroken: Tensor
    target: Tensor | None
    queries: Tensor | None
    broken_by: Tensor
    points: Tensor
    attacks: list[AttackRecord]
    flags: list[Flag]
    checks: list[CheckRecord]
    forward_rows: int
    backward_rows: int
    seconds: float
    adversarial: AdversarialArchive | None = None
    errors: Tensor | None = None


def evaluate(
    defense: Defense,
    examples: Examples,
    threat: Threat,
    ensemble: Ensemble,
    *,
    seed: int,
    goal: Goal = UNTARGETED,
    keep: bool = False,
    corruptions: Corruptions | None = None,
    observer: Observer = Observer(),  # noqa: B008 (frozen)
) -> Verdict:
    """Judges a model.

    defense: opened once for the search, and once more to audit what was said and to verify what was found. examples: images,
    labels and ids, the judgement of each independent of the others. threat: what an adversarial input may be. ensemble: the
    search, in its order. seed: keys all randomness; the same seed gives the same verdict bit for bit. goal: what counts as
    broken. keep: whether to return what broke the model in its stored form, whose re-checks are on no meter. corruptions: those
    whose errors to count; where they are the threat, the search has asked about them. observer: hears progress, and may cancel.
    Raises SubmissionError when an answer breaks the contract, Cancelled when the observer says so between two passes.
    """
    watch, reading = Watch(len(examples), Meter(), observer), defense.reading

    spent, own, beside = Tally(), Meter(whole=watch.meter), Meter(whole=watch.meter)

    def metered(model: Model, reservoir: Reservoir | None = None) -> MeteredModel:
        return MeteredModel(model, own, classes=examples.classes, tick=watch.tick, reservoir=reservoir, reading=reading)

    @contextmanager
    def opened(purpose: int) -> Iterator[Model]:
        with defense.open() as model:
            company = Company(_around(threat, seed + purpose), seed + purpose, len(examples))
            columns = reading.columns(examples.classes)
            yield scheduled(Scheduler(model, columns, beside, seed + purpose, company, watch.tick), model)

    kept = Reservoir(KEPT, seed)
    with opened(0) as model:
        watch.stage("clean")
        examples = goal.aimed(examples, metered(model))
        said = read(metered(model), examples.x, examples.wanted, examples.classes, reading)
        clean = said.standing
        watch.stage("attacking", settled=int((~clean).sum()), survivors=int(clean.sum()))
        batch = Batch(examples.x, examples.y, Draws(seed, examples.ids), examples.target, reading=reading)
        search = ensemble.run(metered(model, kept), batch[clean], threat, watch.observe)
        errors = None if corruptions is None else table_of(metered(model, kept), batch, clean, search.errors, corruptions)
    random = reading.random or any(flag.check == "randomness" for flag in search.flags)
    broken_by = torch.full_like(examples.ids, -1)
    broken_by[clean] = search.broken_by
    points = threat.start(examples.x)
    points[clean] = search.points
    watch.stage("verifying", survivors=int(clean.sum()) - int((broken_by >= 0).sum()))
    with opened(1) as model:
        fresh, doubts = metered(model), list[Flag]()
        with spent.spending(own):
            auditor = Auditor(model, metered, unlike(kept.exchanges(), examples.x), seed, random)
            if not random:
                doubts += auditor.young()
            counted = search.queries is not None or goal.universal  # what stands was asked about as often, or may not be, alone
            if not counted and not isinstance(threat, Physical):  # whose success is a matter of chance, and so asked repeatedly
                standing = (clean & (broken_by < 0)).nonzero().squeeze(1)
                part, nearest = batch[standing], points[standing]
                last = closest_by_votes(fresh, part, threat, nearest) if random else closest(fresh, part, threat, nearest, seed)
                points[standing], broken_by[standing[last.broken]] = last.points, len(search.records)
                spent.tried, spent.broken, doubts = len(standing), int(last.broken.sum()), [*doubts, *last.flags]
            undeclared = random and not reading.random
            if not undeclared and not any(flag.check == REPLAY for flag in doubts):
                doubts += auditor.grown() or auditor.sloped()
        checked = verify(fresh, examples, threat, points, broken_by >= 0, seed, reading)
        correct, unbroken = said.correct & checked.correct, clean & checked.standing
        archive = None
        if keep:
            fallen = unbroken & checked.broken
            uncounted = MeteredModel(model, Meter(), classes=examples.classes, tick=watch.tick, reading=reading)
            archive = compact_broken(uncounted, examples[fallen], threat, points[fallen], seed, reading)
    survivors = int((clean & (broken_by < 0)).sum())
    records = [*search.records, AttackRecord(name=STAGE, survivors=survivors, **vars(spent)), _company(beside, survivors)]
    robust = unbroken & ~checked.broken
    flags = [*search.flags, *doubts, *(disagreements(said.correct, checked, broken_by >= 0) if not reading.random else [])]
    broken_by = torch.where(checked.broken & unbroken, broken_by, -1)
    return Verdict(
        correct=correct,
        robust=robust,
        unbroken=unbroken,
        target=examples.target,
        queries=_of_all(search.queries, clean),
        broken_by=broken_by,
        points=points,
        attacks=_verified_records(records, broken_by, int(unbroken.sum())),
        flags=flags,
        checks=search.checks,
        forward_rows=watch.meter.forward_rows,
        backward_rows=watch.meter.backward_rows,
        seconds=watch.seconds,
        adversarial=archive,
        errors=errors,
    )


def _of_all(queries: Tensor | None, searched: Tensor) -> Tensor | None:
    """(n,) the queries of all examples, 0 for those that were not `searched` (n,) bool."""
    return None if queries is None else torch.zeros(len(searched), dtype=torch.int64).masked_scatter(searched, queries.cpu())


def _around(threat: Threat, seed: int) -> Move:
    """Draws inputs of the threat around images."""

    def moved(x: Tensor, number: int) -> Tensor:
        draws = Draws(seed, torch.arange(len(x))).fork(f"company {number}")
        return threat.apply(x, threat.random_start(x, draws)).to(x.dtype)

    return moved


def _company(beside: Meter, survivors: int) -> AttackRecord:
    """What was asked so that passes look alike, as a record beside those of attacks."""
    rows = {"forward_rows": beside.forward_rows, "backward_rows": beside.backward_rows}
    return AttackRecord(name=COMPANY, tried=0, broken=0, survivors=survivors, seconds=0.0, **rows)


def _verified_records(records: list[AttackRecord], broken_by: Tensor, survivors: int) -> list[AttackRecord]:
    """The search's records with verified counts. survivors: of no attack at all."""
    verified = []
    for index, record in enumerate(records):
        broken = int((broken_by == index).sum())
        survivors -= broken
        verified.append(record.model_copy(update={"broken": broken, "survivors": survivors}))
    return verified
