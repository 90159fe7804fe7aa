"""The loss along the gradient and along a random direction: what an attack that climbs would see."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluator.attacks.gradients import glance, look
from evaluator.attacks.losses import margin
from evaluator.checks.base import Subject
from evaluator.records.report import Curve

EXAMPLES = 8
PLACES = 9
REACH = 2.0  # epsilons


def landscape(subject: Subject) -> list[Curve]:
    """The mean margin (misclassified where positive) at so many epsilons from the clean inputs, of at most EXAMPLES.

    Two lines: along the steepest direction of the gradient at the clean input, and along a random sign direction. The
    subject's threat is a ball, so that a distance has a meaning.
    """
    batch, threat = subject.batch[:EXAMPLES], subject.threat
    clean = threat.start(batch.x)
    gradient = look(subject.readable, batch, threat, clean, margin, stop=False).gradient
    chance = batch.draws.fork("landscape").signs(1, *batch.x.shape[1:]).squeeze(1)
    along = {
        "along the gradient": threat.steepest_step(gradient, threat.epsilon),
        "along a random direction": threat.steepest_step(chance, threat.epsilon),
    }
    return [_line(subject, name, clean, direction) for name, direction in along.items()]


def _line(subject: Subject, name: str, clean: Tensor, direction: Tensor) -> Curve:
    batch, points = subject.batch[: len(clean)], []
    for place in torch.linspace(0, REACH, PLACES).tolist():
        there = (clean + place * direction).clamp(0, 1)
        value = float(margin(glance(subject.readable, batch, subject.threat, there), batch).mean())
        points.append((place * subject.threat.epsilon, value))
    return Curve(name=name, x="distance from the image", y="margin", points=points)
