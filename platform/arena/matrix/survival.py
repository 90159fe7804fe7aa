"""What a defense withstands: opened with its verdict, and cleared by every attack that breaks more. It never rises."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import reduce

from django.db import transaction

from arena.evaluations.models import Evaluation
from arena.evaluations.services import stand
from arena.matrix import adversarial
from arena.matrix.models import Cell, Fall, Survival
from arena.rankings.bits import count, pack, packed_survivors, packed_union, unpack
from arena.rankings.optimality import envelope, gained
from arena.submissions.kinship import kinship
from arena.submissions.locking import lock
from evaluator.records.report import Report


def open_survival(evaluation: Evaluation, report: Report, found: bytes = b"") -> float:
    """Records what a fresh verdict leaves standing, and returns the robust accuracy.

    found: the archive of what the ensemble broke it with; empty where none was made.
    What was broken under the same rules stays broken: by earlier verdicts of this defense and by every attack's verified
    inputs. Call inside the transaction that completes the evaluation, after `arena.submissions.locking.lock`.
    """
    robust = pack(report.robust_bits)
    defense, rules = evaluation.submission_id, evaluation.rules_digest
    earlier = list(Survival.objects.filter(evaluation__submission=defense, evaluation__rules_digest=rules))
    played = Cell.objects.filter(defense=defense, rules_digest=rules, state=Cell.State.COMPLETED)
    broken = [packed_survivors(bytes(survival.correct), [bytes(survival.robust)]) for survival in earlier]
    broken += [bytes(breaks) for breaks in played.values_list("breaks", flat=True) if breaks is not None]
    robust = packed_survivors(robust, broken)
    witnessed = reduce(packed_union, (bytes(survival.witnessed) for survival in earlier), bytes(len(robust)))
    epsilon = getattr(evaluation.judged_pack.challenge.threat, "epsilon", None)
    best = envelope((adversarial.distances_of(cell) for cell in played), evaluation.examples)
    values = {
        "envelope": adversarial.pack_envelope(best),
        "gain": _gain(evaluation, epsilon),
        "correct": pack(report.attackable),
        "robust": robust,
        "witnessed": witnessed,
    }
    survival, _ = Survival.objects.update_or_create(evaluation=evaluation, defaults=values)
    _keep(survival, found, earlier)
    return stand(evaluation.pk, robust=count(robust), examples=evaluation.examples)


def _keep(survival: Survival, found: bytes, earlier: Iterable[Survival]) -> None:
    """Stores what broke the defense, once for each example. What a transfer broke is stored already, and so is what earlier
    verdicts found, which this one takes over.
    """
    evaluation = survival.evaluation
    transfers = Cell.objects.filter(
        defense=evaluation.submission_id, rules_digest=evaluation.rules_digest, kind=Cell.Kind.TRANSFER
    ).exclude(breaks=None)
    known = [bytes(breaks or b"") for breaks in transfers.values_list("breaks", flat=True)]
    fresh = unpack(packed_survivors(pack([True] * evaluation.examples), known), evaluation.examples)
    before = [each.archive for each in earlier if each.archive is not None]
    parts = [adversarial.of_examples(found, fresh).to_bytes()] if found else []
    joined = adversarial.one_each([*parts, *(adversarial.read(archive) for archive in before)])
    Survival.objects.filter(pk__in=[each.pk for each in earlier]).update(archive=None, held=None)
    if joined is not None:
        survival.archive = adversarial.keep_bytes(joined)
        survival.held = pack(adversarial.examples_of(joined, evaluation.examples))
        survival.save(update_fields=["archive", "held"])
    for archive in before:
        adversarial.drop_unused(archive)


def ensure(evaluation: Evaluation) -> None:
    """Opens the survival of a verdict from before there was a matrix."""
    if hasattr(evaluation, "survival"):
        return
    with transaction.atomic():
        lock(evaluation.submission_id)
        if evaluation.report is not None and not Survival.objects.filter(evaluation=evaluation).exists():
            open_survival(evaluation, Report.model_validate(evaluation.report))


def clear(cell: Cell, correct: bytes, breaks: bytes, at: datetime) -> Fall | None:
    """Clears what the cell broke from its defense's survival; the fall, if that was news. After `lock`.

    correct: what stands without attack, from which a fall before its first verdict starts.
    """
    known = Survival.objects.filter(evaluation__submission=cell.defense_id, evaluation__rules_digest=cell.rules_digest)
    survival = (
        known.select_related("evaluation")
        .filter(evaluation__current=True, evaluation__state=Evaluation.State.COMPLETED)
        .first()
    )
    if survival is None:  # its next verdict takes this cell into account
        return None if known.exists() else _first_fall(cell, correct, breaks, at)
    before = count(bytes(survival.robust))
    survival.robust = packed_survivors(bytes(survival.robust), [breaks])
    after = count(survival.robust)
    _improve(survival, cell)
    if after == before:
        return None
    survival.save(update_fields=["robust"])
    evaluation = survival.evaluation
    stand(evaluation.pk, robust=after, examples=evaluation.examples)
    return _fall(cell, evaluation, before, after, at)


def _first_fall(cell: Cell, correct: bytes, breaks: bytes, at: datetime) -> Fall | None:
    """What a replay broke before there was a verdict."""
    played = Cell.objects.filter(defense=cell.defense_id, rules_digest=cell.rules_digest, state=Cell.State.COMPLETED)
    earlier = played.exclude(pk=cell.pk).exclude(breaks=None).values_list("breaks", flat=True)
    standing = packed_survivors(correct, [bytes(broken or b"") for broken in earlier])
    before, after = count(standing), count(packed_survivors(standing, [breaks]))
    return _fall(cell, cell.evaluation, before, after, at) if after < before else None


def _fall(cell: Cell, evaluation: Evaluation, before: int, after: int, at: datetime) -> Fall:
    return Fall.objects.create(
        challenge_id=cell.challenge_id,
        defense_id=cell.defense_id,
        attack_id=cell.attack_id,
        cell=cell,
        evaluation=evaluation,
        before=before,
        after=after,
        examples=evaluation.examples,
        at=at,
    )


def _improve(survival: Survival, cell: Cell) -> None:
    """Moves the envelope closer where this cell found smaller distances."""
    known = adversarial.unpack_envelope(survival.envelope, cell.examples)
    best = envelope([known, adversarial.distances_of(cell)], cell.examples)
    if (best < known).any():
        survival.envelope = adversarial.pack_envelope(best)
        survival.save(update_fields=["envelope"])


def measure(cell: Cell) -> None:
    """Writes how much area the best own results on the cell's defense take by now. After `lock` and `repeats.compare`."""
    for survival in Survival.objects.filter(evaluation__submission=cell.defense_id, evaluation__rules_digest=cell.rules_digest):
        epsilon = getattr(survival.evaluation.judged_pack.challenge.threat, "epsilon", None)
        survival.gain = _gain(survival.evaluation, epsilon)
        survival.save(update_fields=["gain"])


def _gain(evaluation: Evaluation, epsilon: float | None) -> float | None:
    """Of what attacks found themselves or the ensemble on others; without copies, and without the defense's own team."""
    defense = evaluation.submission
    found = Cell.objects.filter(defense=defense, rules_digest=evaluation.rules_digest, state=Cell.State.COMPLETED)
    cells = list(found.exclude(kind=Cell.Kind.REPLAY).select_related("attack"))
    known = kinship({defense.team_id, *(cell.attack.team_id for cell in cells)})
    counted = [
        cell for cell in cells if cell.kind == Cell.Kind.TRANSFER or not known.related(cell.attack.team_id, defense.team_id)
    ]
    return gained(envelope((adversarial.distances_of(cell, own=True) for cell in counted), evaluation.examples), epsilon)


def unwitnessed(cell: Cell, breaks: bytes) -> bytes:
    """Which of the broken examples no kept input shows yet; from now on one does. After `lock`."""
    survival = Survival.objects.filter(evaluation__submission=cell.defense_id, evaluation__current=True).first()
    if survival is None:
        return breaks
    fresh = packed_survivors(breaks, [bytes(survival.witnessed)])
    survival.witnessed = packed_union(bytes(survival.witnessed), breaks)
    survival.save(update_fields=["witnessed"])
    return fresh
