"""Adversarial inputs as pictures: the image, what broke the defense, and their difference made visible."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from django.core.cache import cache
from django.urls import reverse
from numpy.typing import NDArray

from arena.evaluations.models import Evaluation
from arena.matrix import adversarial
from arena.matrix.models import Archive, Cell, Survival
from arena.rankings.bits import Bits, unpack
from arena.web.images import images_of, png
from evaluator.data.recipe import Arrays
from evaluator.manifests.spec import Challenge
from evaluator.records.adversarial_archive import HALVES, LEVELS, STEPS, AdversarialArchive

KINDS = ("original", "adversarial", "difference")
_KEPT_SECONDS = 3600


@dataclass(frozen=True)
class Shown:
    """One example.

    folder: the address before EXAMPLE/KIND.png; label: its true class; read_as: what the defense took it for, "" where that
    is not known; largest: of the difference, in [0, 1]; files: PNG by kind.
    """

    folder: str
    example: int
    label: str
    read_as: str
    largest: float
    files: dict[str, bytes]

    @property
    def gain(self) -> str:
        """How much the difference is amplified."""
        return f"{0.5 / self.largest:.3g}" if self.largest else "1"


def gallery(cell: Cell, challenge: Challenge) -> list[Shown]:
    """Up to eight of the inputs that the cell keeps; none where there are none, or where its images cannot be had here.

    Of a transfer, whose archive is that of another defense, only what broke this one too.
    """
    if cell.archive is None:
        return []
    broken = unpack(bytes(cell.breaks), cell.examples) if cell.kind == Cell.Kind.TRANSFER and cell.breaks else None
    said = (cell.report or {}).get("read_as", {})
    return _kept(cell.archive, reverse("web:cell", args=[cell.public_id]), challenge, broken, said)


def found_by_ensemble(evaluation: Evaluation) -> list[Shown]:
    """The same of what the official ensemble found; it does not keep what the defense took them for."""
    survival = Survival.objects.select_related("archive").filter(evaluation=evaluation).first()
    if survival is None or survival.archive is None:
        return []
    folder = reverse("web:entry", args=[evaluation.submission.public_id]) + "images/"
    return _kept(survival.archive, folder, evaluation.judged_pack.challenge, None, {})


def _kept(archive: Archive, folder: str, challenge: Challenge, broken: Bits | None, said: dict[str, int]) -> list[Shown]:
    """broken: the examples to show, None for all."""
    if not challenge.threat.inputs:  # stored points that are no images
        return []
    key = f"gallery:{folder}:{archive.digest}"
    known: list[Shown] | None = cache.get(key)
    if known is None:
        stored = adversarial.read(archive)
        inputs = AdversarialArchive.from_bytes(stored) if broken is None else adversarial.of_examples(stored, broken)
        known = _drawn(inputs, folder, challenge, said)
        cache.set(key, known, timeout=_KEPT_SECONDS)
    return known


def _drawn(archive: AdversarialArchive, folder: str, challenge: Challenge, said: dict[str, int]) -> list[Shown]:
    data = images_of(challenge.data)
    if data is None or archive.steps.shape[1:] != data.images.shape[1:]:
        return []
    few = adversarial.only(archive, np.isin(archive.ids, adversarial.shown(archive)))
    shown = []
    for example, move in zip(few.ids.tolist(), _moves(few, data), strict=True):
        image = data.unit(example)
        largest = float(np.abs(move).max())
        pictures = (image, image + move, 0.5 + move * (0.5 / largest if largest else 1.0))
        label = challenge.data.class_names[int(data.labels[example])]
        answer = said.get(str(example))
        read_as = "" if answer is None else challenge.data.class_names[answer]
        files = {kind: png(one) for kind, one in zip(KINDS, pictures, strict=True)}
        shown.append(Shown(folder, example, label, read_as, largest, files))
    return sorted(shown, key=lambda one: one.example)


def _moves(archive: AdversarialArchive, data: Arrays) -> list[NDArray[np.float64]]:
    """The perturbation of every stored input, in the archive's order."""
    steps = iter(archive.steps * archive.scale[:, None, None, None] / LEVELS)
    halves, points = iter(archive.halves.astype(np.float64)), iter(archive.points.astype(np.float64))
    moves = []
    for example, form in zip(archive.ids.tolist(), archive.form.tolist(), strict=True):
        if form == STEPS:
            moves.append(next(steps))
        elif form == HALVES:
            moves.append(next(halves))
        else:
            moves.append(next(points) - data.unit(example))
    return moves
