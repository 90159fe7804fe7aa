"""What the matrix knows of one defense, for its page: who broke what, at which budgets, in which classes, and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from arena.evaluations.models import Evaluation
from arena.leaderboards.queries import history
from arena.matrix.defense_queries import Played, only_its_own, played_against, standing_bits, upper_bound
from arena.matrix.models import Cell
from arena.web.gallery import Shown, found_by_ensemble, gallery
from arena.web.honesty import Drawing
from arena.web.images import images_of
from arena.web.svg import Bracket
from evaluator.records.intervals import clopper_pearson
from evaluator.records.report import Curve

ON_ENTRY = 5  # pictures on the entry page; a cell's page has more


@dataclass(frozen=True)
class ClassRow:
    """One class. images: how many of it rank."""

    name: str
    images: int
    bracket: Bracket


@dataclass(frozen=True)
class Gallery:
    """Pictures of inputs; cell: whose they are, None for those that the official ensemble found."""

    cell: Cell | None
    pictures: list[Shown]


def matrix_sections(evaluation: Evaluation) -> dict[str, Any]:
    """The context of the sections, each falsy where there is nothing to say."""
    every = played_against(evaluation)
    played = [each for each in every if each.cell.kind != Cell.Kind.TRANSFER]
    replayed = [each for each in every if each.cell.kind == Cell.Kind.TRANSFER]
    return {
        "played": played,
        "planted": only_its_own(every, evaluation),
        "replayed": len(replayed),
        "transfers": [each for each in replayed if each.cell.broken],
        "events": history(evaluation.submission),
        "budgets": _budgets(evaluation),
        "classes": class_rows(evaluation),
        "gallery": _newest(played, evaluation) or _own(evaluation) or _newest(replayed, evaluation),
    }


def _budgets(evaluation: Evaluation) -> Drawing | None:
    points = upper_bound(evaluation)
    if not points:
        return None
    return Drawing.of([Curve(name="at most", x="budget ε", y="robust accuracy", points=points)])


def class_rows(evaluation: Evaluation) -> list[ClassRow]:
    """Clean and robust accuracy of every class; empty where the labels cannot be had here."""
    spec = evaluation.judged_pack.challenge.data
    data, bits = images_of(spec), standing_bits(evaluation)
    if data is None or bits is None:
        return []
    labels = data.labels[: evaluation.examples]
    rows = []
    for label in np.unique(labels).tolist():
        of = labels == label
        images, correct, robust = (int(np.count_nonzero(each)) for each in (of, of & bits.correct, of & bits.robust))
        figures = Bracket(robust / images, clopper_pearson(robust, images), correct / images)
        rows.append(ClassRow(spec.class_names[label], images, figures))
    return rows


def _newest(played: list[Played], evaluation: Evaluation) -> Gallery | None:
    """Pictures of the cell that broke the defense last and keeps inputs."""
    kept = [each.cell for each in played if each.cell.archive_id is not None and each.cell.finished is not None]
    for cell in sorted(kept, key=lambda cell: str(cell.finished), reverse=True)[:1]:
        pictures = gallery(cell, evaluation.judged_pack.challenge)
        return Gallery(cell, pictures[:ON_ENTRY]) if pictures else None
    return None


def _own(evaluation: Evaluation) -> Gallery | None:
    """Pictures of what the official ensemble found."""
    pictures = found_by_ensemble(evaluation)
    return Gallery(None, pictures[:ON_ENTRY]) if pictures else None
