"""Verification of claims: every returned point is checked in float64 and re-scored in fp32 on a fresh copy of the model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.adaptive.votes import Votes
from evaluator.attacks.base import Model
from evaluator.data.tensors import Examples
from evaluator.report import Flag
from evaluator.threats.base import Threat

BATCH = 250


@dataclass(frozen=True)
class Checked:
    """What the fresh model said: correct on the clean input; claims that hold (contained, finite, misclassified)."""

    correct: Tensor
    broken: Tensor


def verify(
    model: Model,
    examples: Examples,
    threat: Threat,
    points: Tensor,
    claimed: Tensor,
    seed: int,
    batch_size: int = BATCH,
    votes: Votes | None = None,
) -> Checked:
    """Scores clean inputs and claims on the fresh model, in fp32, mixed in a secret order so that they look alike.

    points: one of `threat` per example; claimed: (n,) bool, those to score; seed: of the order. votes: how a model
    that declares random answers is scored, on fresh randomness; None for every other model.
    """
    broken = claimed & threat.contains(examples.x, points)
    rendered = threat.apply(examples.x, points)[broken].float()
    inputs = torch.cat([examples.x, rendered])
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed % 2**63))
    if votes is not None:
        truth = torch.cat([examples.y, examples.y[broken]])
        counts = torch.empty(len(inputs), examples.classes, dtype=torch.int64)
        counts[order] = count(model, inputs[order], examples.classes, votes, batch_size)
        broken[broken.clone()] = votes.broken(counts, truth)[len(examples) :]
        return Checked(votes.correct(counts, truth)[: len(examples)], broken)
    labels = torch.empty(len(inputs), dtype=torch.int64)
    labels[order] = classify(model, inputs[order], batch_size)
    broken[broken.clone()] = labels[len(examples) :] != examples.y[broken]
    return Checked(labels[: len(examples)] == examples.y, broken)


def classify(model: Model, x: Tensor, batch_size: int = BATCH) -> Tensor:
    """(n,) int64 labels."""
    with torch.no_grad():
        labels = [model(part).argmax(dim=1) for part in x.split(batch_size)]
    return torch.cat(labels) if labels else torch.empty(0, dtype=torch.int64)


def correct_by(model: Model, examples: Examples, votes: Votes | None, batch_size: int = BATCH) -> Tensor:
    """(n,) bool: classified correctly, by votes where answers are declared random."""
    if votes is None:
        return classify(model, examples.x, batch_size) == examples.y
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
    if lost:
        evidence = f"{lost} of {int(claimed.sum())} adversarial inputs did not break a fresh copy of the model."
        flags.append(Flag(check="claim-repeat", severity="unverified", evidence=evidence))
    return flags
