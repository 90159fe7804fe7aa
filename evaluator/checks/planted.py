"""Planted adversarial examples (the binarization test of Zimmermann et al. 2022, "Increasing Confidence in Adversarial
Robustness Evaluations", alg. 1, with the logits as features): an attack must find what is known to be there."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluator.attacks.base import Batch
from evaluator.attacks.gradients import glance, gradient_of
from evaluator.checks.base import Check, Finding, Subject, register
from evaluator.threats.base import Threat
from evaluator.threats.traits import Trait

EXAMPLES = 16
INNER = 6  # points that the readout must keep on the innocent side: fewer than logits, so that a readout exists
DEPTH = 0.5  # of the way to the ball's surface, where the inner points lie
STEPS = 20
MISSED = 0.25
LEAST = 4


@register
class Planted(Check):
    """Plants a linear readout of the logits that is adversarial at one known point, and climbs for it."""

    name = "planted-examples"
    title = "Planted adversarial examples are missed"
    definition = (
        f"For each of at most {EXAMPLES} examples a linear readout of the logits is solved that is positive at one random "
        f"point on the surface of the threat's ball and negative at the image and at {INNER} random points half as far away. "
        f"PGD with {STEPS} steps climbs that readout. Fires when it misses more than {MISSED:.0%} of the plants (at least "
        f"{LEAST} can be planted, answers are not random)."
    )
    meaning = (
        "A point of the other side was placed where the attack may go. An attack that cannot find it finds no other either."
    )
    remedy = "Look for what keeps gradients from reaching the input; declare a stand-in (`bpda`)."
    needs = Trait.DENSE
    elsewhere = "A steepest step in L1 moves one pixel. A plant is one pixel among many, and honest networks miss most."

    def run(self, subject: Subject) -> Finding:
        if subject.random:
            return self.says(False, "not measured: answers are random.")
        batch = subject.batch[:EXAMPLES].fork("planted")
        weights, planted = _readouts(subject, batch)
        part, weights = batch[planted], weights[planted]
        if len(part) < LEAST:
            return self.says(False, f"not measured: {len(part)} of {len(batch)} examples tell their neighbors apart by logits.")
        missed = int((~_climb(subject, part, weights)).sum())
        evidence = f"{missed} of {len(part)} planted examples were not found in {STEPS} steps."
        return self.says(missed / len(part) > MISSED, evidence)


def _features(subject: Subject, batch: Batch, points: Tensor) -> Tensor:
    """(n, K + 1) float64: logits and a one."""
    logits = glance(subject.readable, batch, subject.threat, points).double()
    return torch.cat([logits, torch.ones_like(logits[:, :1])], dim=1)


def _readouts(subject: Subject, batch: Batch) -> tuple[Tensor, Tensor]:
    """(n, K + 1) least-norm readouts w with w.f = -1 inside and +1 at the plant; (n,) int64 positions where one exists."""
    threat = subject.threat
    clean = threat.start(batch.x)
    inner = [clean]
    for number in range(INNER):
        inner.append(clean + DEPTH * (threat.random_start(batch.x, batch.draws.fork(f"inner {number}")) - clean))
    plant = _surface(batch, threat, clean)
    features = torch.stack([_features(subject, batch, points) for points in (*inner, plant)], dim=1)
    targets = torch.tensor([-1.0] * len(inner) + [1.0], dtype=torch.float64, device=features.device)
    weights = torch.linalg.pinv(features, rtol=1e-9) @ targets
    sides = (features @ weights[:, :, None]).squeeze(2)
    separable = (sides[:, -1] > 0) & (sides[:, :-1] < 0).all(dim=1)
    return weights, separable.nonzero().squeeze(1)


def _surface(batch: Batch, threat: Threat, clean: Tensor) -> Tensor:
    """A random sign step as far as the threat goes."""
    signs = batch.draws.fork("plant").signs(1, *batch.x.shape[1:]).squeeze(1)
    return threat.project(batch.x, clean + threat.steepest_step(signs, threat.epsilon))


def _climb(subject: Subject, batch: Batch, weights: Tensor) -> Tensor:
    """(n,) bool: PGD from the image has reached the other side of its readout at some step."""
    threat, found = subject.threat, torch.zeros(len(batch), dtype=torch.bool, device=batch.x.device)
    points, size = threat.start(batch.x), 2.5 * threat.epsilon / STEPS
    for _ in range(STEPS + 1):
        active = (~found).nonzero().squeeze(1)
        if not len(active):
            break
        part = batch[active]
        with torch.enable_grad():
            leaf = points[active].requires_grad_(True)
            logits = subject.readable(threat.apply(part.x, leaf)).double()
            values = (logits * weights[active, :-1]).sum(dim=1) + weights[active, -1]
            gradient = gradient_of(values.sum(), leaf)
        found[active] = values.detach() > 0
        points[active] = threat.project(part.x, points[active] + threat.steepest_step(gradient, size))
    return found
