"""Verification of claims: every returned point is checked in float64 and re-scored in fp32 on a fresh copy of the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Model
from evaluator.data.tensors import Examples
from evaluator.draws import Draws
from evaluator.models.reading import ARGMAX, Read, Reading
from evaluator.records.report import Flag
from evaluator.threats.base import Threat
from evaluator.threats.physical import Physical

BATCH = 250


@dataclass(frozen=True)
class Checked:
    """What the fresh model said: correct on the clean input; claims that hold (contained, finite, misclassified).

    by_chance: claims were judged on views drawn for the purpose, so that one which held in the search may fail here.
    read_as: (n,) int64, the class that a claim was given, -1 where none was scored; None where several answers decide.
    """

    correct: Tensor
    broken: Tensor
    by_chance: bool = False
    read_as: Tensor | None = None


def verify(
    model: Model,
    examples: Examples,
    threat: Threat,
    points: Tensor,
    claimed: Tensor,
    seed: int,
    reading: Reading = ARGMAX,
) -> Checked:
    """Scores clean inputs and claims on the fresh model, in fp32, mixed in a secret order so that they look alike.

    points: one of `threat` per example; claimed: (n,) bool, those to score; seed: of the order, and of the views on which
    claims under a physical threat are scored: those must succeed on its share of them. reading: how answers are read. A refused
    clean image is an error, and a claim that is refused does not hold.
    """
    broken = claimed & threat.contains(examples.x, points)
    views = threat.samples if isinstance(threat, Physical) else 1
    inputs = torch.cat([examples.x, *_shown(threat, examples[broken], points[broken], seed)])
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed % 2**63))
    truth = torch.cat([examples.y, examples.y[broken].repeat(views)])
    n, read_as = len(examples), None
    said = read(model, inputs[order], truth[order], examples.classes, reading)[order.argsort()]
    correct, fell = said.correct, (said.broken if views == 1 else said.wrong)[n:]
    if views == 1 and not reading.random:
        read_as = torch.full((n,), -1)
        read_as[broken] = said.labels[n:]
    if isinstance(threat, Physical):
        fell = threat.enough(fell.reshape(views, int(broken.sum())).double().mean(dim=0))
    broken[broken.clone()] = fell
    return Checked(correct[:n], broken, by_chance=isinstance(threat, Physical), read_as=read_as)


def _shown(threat: Threat, examples: Examples, points: Tensor, seed: int) -> Iterator[Tensor]:
    """What the model is asked about each claim: the rendered point, or views of it that only the scorer could draw."""
    if isinstance(threat, Physical):
        draws = Draws(seed, examples.ids).fork("verification")
        yield from (view.float() for view in threat.rendered_views(examples.x, points, draws))
    else:
        yield threat.apply(examples.x, points).float()


def read(model: Model, x: Tensor, y: Tensor, classes: int, reading: Reading = ARGMAX) -> Read:
    """What `model` says to x (n, *shape), whose true classes are y (n,), in batches; on the CPU."""
    parts = [reading.read(model, some, true, classes) for some, true in zip(x.split(BATCH), y.split(BATCH), strict=True)]
    fields = ("labels", "correct", "wrong", "broken")
    return Read(*(torch.cat([getattr(part, field).cpu() for part in parts]) for field in fields))


def disagreements(clean: Tensor, checked: Checked, claimed: Tensor) -> list[Flag]:
    """A deterministic, stateless model answers a fresh host as it answered the search: where it does not, say so.

    clean: (n,) bool, correct during the search; claimed: (n,) bool, broken during the search.
    """
    flags = []
    moved, lost = int((clean != checked.correct).sum()), int((claimed & ~checked.broken).sum())
    if moved:
        evidence = f"{moved} of {len(clean)} clean images were classified differently by a fresh copy of the model."
        flags.append(Flag(check="clean-repeat", severity="unverified", evidence=evidence))
    if lost and not checked.by_chance:
        evidence = f"{lost} of {int(claimed.sum())} adversarial inputs did not break a fresh copy of the model."
        flags.append(Flag(check="claim-repeat", severity="unverified", evidence=evidence))
    return flags
