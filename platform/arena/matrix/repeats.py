"""Who found the same first: the results of a cell are compared, at its end, with those of every other attack on the defense."""

from __future__ import annotations

from functools import reduce

import numpy as np

from arena.jobs import runner
from arena.matrix import adversarial
from arena.matrix.models import Cell, Repeat
from arena.rankings.bits import overlap, pack, packed_union
from arena.submissions.models import Submission


def compare(cell: Cell) -> None:
    """Notes what the cell repeats of earlier entries' results, and what later ones repeat of its own. After `lock`.

    Entries are as early as they were entered, whatever is played first. The later one's figures lose what it copied.
    """
    if cell.results is None:
        return
    played = Cell.objects.filter(
        defense=cell.defense_id, rules_digest=cell.rules_digest, kind=Cell.Kind.PLAY, state=Cell.State.COMPLETED
    )
    others = [
        other
        for other in played.exclude(pk=cell.pk).exclude(results=None).select_related("attack", "results")
        if overlap(bytes(other.breaks or b""), bytes(cell.breaks or b""))
    ]
    stored = [adversarial.read(other.results) for other in others if other.results is not None]
    same = (
        runner.configured().same_results(cell.evaluation.judged_pack, adversarial.read(cell.results), stored) if stored else []
    )
    later = {}
    for other, ids in zip(others, same, strict=True):
        if ids:
            bits = np.zeros(cell.examples, dtype=bool)
            bits[ids] = True
            first, second = sorted((cell, other), key=lambda each: _entered(each.attack))
            Repeat.objects.update_or_create(cell=second, of=first, defaults={"bits": pack(bits)})
            later[second.pk] = second
    for each in later.values():
        _note_copied(each)


def _entered(attack: Submission) -> tuple[object, int]:
    return attack.created, attack.pk


def _note_copied(cell: Cell) -> None:
    """What other teams had found before is not this attack's, nor is the area that it takes from the curve."""
    foreign = Repeat.objects.filter(cell=cell).exclude(of__attack__team=cell.attack.team_id).values_list("bits", flat=True)
    cell.copied = reduce(packed_union, map(bytes, foreign), bytes(len(bytes(cell.breaks or b""))))
    epsilon = getattr(cell.evaluation.judged_pack.challenge.threat, "epsilon", None)
    cell.gain = adversarial.gain_of(cell, epsilon)
    cell.save(update_fields=["copied", "gain"])
