"""Adversarial inputs as pictures: the image, what broke the defense, and their difference made visible."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from django.core.cache import cache
from numpy.typing import NDArray

from arena.matrix import adversarial
from arena.matrix.models import Cell
from arena.web.images import class_name, images_of, png
from evaluator.adversarial_archive import HALVES, LEVELS, STEPS, AdversarialArchive
from evaluator.spec import Challenge

KINDS = ("original", "adversarial", "difference")
PIXELS = ("linf", "l2", "l1", "l0")  # threats whose stored points are images
_KEPT_SECONDS = 3600


@dataclass(frozen=True)
class Shown:
    """One example. label: its true class; read_as: what the defense took it for, "" where that is not known; largest: of the
    difference, in [0, 1]; files: PNG by kind."""

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
    """Up to eight of the inputs that the cell keeps; none where there are none, or where its images cannot be had here."""
    if cell.archive is None or challenge.threat.kind not in PIXELS:
        return []
    key = f"gallery:{cell.public_id}:{cell.archive.digest}"
    known: list[Shown] | None = cache.get(key)
    if known is None:
        said = (cell.report or {}).get("read_as", {})
        known = _drawn(AdversarialArchive.from_bytes(adversarial.read(cell.archive)), challenge, said)
        cache.set(key, known, timeout=_KEPT_SECONDS)
    return known


def _drawn(archive: AdversarialArchive, challenge: Challenge, said: dict[str, int]) -> list[Shown]:
    data = images_of(challenge.data)
    if data is None or archive.steps.shape[1:] != data.images.shape[1:]:
        return []
    few = adversarial.only(archive, np.isin(archive.ids, adversarial.shown(archive)))
    shown = []
    for example, move in zip(few.ids.tolist(), _moves(few, data.images), strict=True):
        image = data.images[example] / 255.0
        largest = float(np.abs(move).max())
        pictures = (image, image + move, 0.5 + move * (0.5 / largest if largest else 1.0))
        label = class_name(challenge.data.dataset, int(data.labels[example]))
        answer = said.get(str(example))
        read_as = "" if answer is None else class_name(challenge.data.dataset, answer)
        files = {kind: png(one) for kind, one in zip(KINDS, pictures, strict=True)}
        shown.append(Shown(example, label, read_as, largest, files))
    return sorted(shown, key=lambda one: one.example)


def _moves(archive: AdversarialArchive, images: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
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
            moves.append(next(points) - images[example] / 255.0)
    return moves
