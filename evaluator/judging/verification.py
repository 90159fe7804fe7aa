"""Verification of claims: every returned point is checked in float64 and re-scored in fp32 on a fresh copy of the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.adaptive.votes import Votes
from evaluator.attacks.base import Model
from evaluator.data.tensors import Examples
from evaluator.draws import Draws
from evaluator.models.rejection import label_or_rejection
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
    batch_size: int = BATCH,
    votes: Votes | None = None,
    rejects: bool = False,
) -> Checked:
    """Scores clean inputs and claims on the fresh model, in fp32, mixed in a secret order so that they look alike.

    points: one of `threat` per example; claimed: (n,) bool, those to score; seed: of the order, and of the views on which
    claims under a physical threat are scored: those must succeed on its share of them. votes: how a model that declares
    random answers is scored, on fresh randomness; None for every other model. rejects: it declares a detector, whose refusal
    of a clean image is an error and of a claim its end.
    """
    broken = claimed & threat.contains(examples.x, points)
    views = threat.samples if isinstance(threat, Physical) else 1
    inputs = torch.cat([examples.x, *_shown(threat, examples[broken], points[broken], seed)])
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed % 2**63))
    truth = torch.cat([examples.y, examples.y[broken].repeat(views)])
    n, read_as = len(examples), None
    if votes is not None:
        counts = torch.empty(len(inputs), examples.classes, dtype=torch.int64)
        counts[order] = count(model, inputs[order], examples.classes, votes, batch_size)
        correct = votes.correct(counts, truth)
        fell = votes.broken(counts, truth)[n:] if views == 1 else ~correct[n:]
    else:
        labels = torch.empty(len(inputs), dtype=torch.int64)
        labels[order] = classify(model, inputs[order], batch_size, rejects)
        correct = labels == truth
        fell = (~correct & (labels >= 0))[n:]
        if views == 1:
            read_as = torch.full((n,), -1)
            read_as[broken] = labels[n:]
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


def classify(model: Model, x: Tensor, batch_size: int = BATCH, rejects: bool = False) -> Tensor:
    """(n,) int64 labels, -1 where a model with a declared detector (`rejects`) refuses to answer."""
    with torch.no_grad():
        labels = [label_or_rejection(model(part), rejects) for part in x.split(batch_size)]
    return torch.cat(labels) if labels else torch.empty(0, dtype=torch.int64)


def correct_by(model: Model, examples: Examples, votes: Votes | None, batch_size: int = BATCH, rejects: bool = False) -> Tensor:
    """(n,) bool: classified correctly, by votes where answers are declared random; what is refused is not."""
    if votes is None:
        return classify(model, examples.x, batch_size, rejects) == examples.y
    return votes.correct(count(model, examples.x, examples.classes, votes, batch_size), examples.y)


def count(model: Model, x: Tensor, classes: int, votes: Votes, batch_size: int = BATCH) -> Tensor:
    """(n, classes) int64 votes."""
    counted = [votes.counts(model, part, classes) for part in x.split(batch_size)]
    return torch.cat(counted) if counted else torch.empty(0, classes, dtype=torch.int64)


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
