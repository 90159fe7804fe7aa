"""Verification of claims: every returned point is checked in float64 and re-scored in fp32 on a fresh copy of the model."""

from __future__ import annotations

import dataclasses
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
from evaluator.wanted import Wanted

BATCH = 250


@dataclass(frozen=True)
class Checked:
    """What the fresh model said: correct on the clean input; claims that hold (contained, finite, a success); standing: (n,)
    bool, not broken by the clean input as it is, which without targets is what is correct.

    by_chance: claims were judged on views drawn for the purpose, so that one which held in the search may fail here.
    read_as: (n,) int64, the class that a claim was given, -1 where none was scored; None where several answers decide.
    """

    correct: Tensor
    broken: Tensor
    standing: Tensor
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
    wanted = examples.wanted.joined(examples.wanted[broken].repeated(views))
    n, read_as = len(examples), None
    said = read(model, inputs[order], wanted[order], examples.classes, reading)[order.argsort()]
    fell = (said.broken if views == 1 else said.met)[n:]
    if views == 1 and not reading.random:
        read_as = torch.full((n,), -1)
        read_as[broken] = said.labels[n:]
    if isinstance(threat, Physical):
        fell = threat.enough(fell.reshape(views, int(broken.sum())).double().mean(dim=0))
    broken[broken.clone()] = fell
    by_chance = isinstance(threat, Physical)
    return Checked(said.correct[:n], broken, said.standing[:n], by_chance=by_chance, read_as=read_as)


def _shown(threat: Threat, examples: Examples, points: Tensor, seed: int) -> Iterator[Tensor]:
    """What the model is asked about each claim: the rendered point, or views of it that only the scorer could draw."""
    if isinstance(threat, Physical):
        draws = Draws(seed, examples.ids).fork("verification")
        yield from (view.float() for view in threat.rendered_views(examples.x, points, draws))
    else:
        yield threat.apply(examples.x, points).float()


def read(model: Model, x: Tensor, wanted: Wanted, classes: int, reading: Reading = ARGMAX) -> Read:
    """What `model` says to x (n, *shape), of which an adversary wants `wanted` (n), in batches; on the CPU."""
    slices = [slice(first, first + BATCH) for first in range(0, max(len(x), 1), BATCH)]
    parts = [reading.read(model, x[some], wanted[some], classes) for some in slices]
    return Read(*(torch.cat([getattr(part, field.name).cpu() for part in parts]) for field in dataclasses.fields(Read)))


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
