"""An ensemble that doubts itself: honesty checks before the search, the model's randomness averaged during it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.adaptive.eot_samples import choose_samples
from evaluator.attacks.base import Batch, Model
from evaluator.checks.base import Finding, Subject
from evaluator.checks.battery import examine, sampled
from evaluator.ensembles.base import Ensemble, Search, Step
from evaluator.ensembles.tally import Tally
from evaluator.meter import MeteredModel
from evaluator.report import AttackRecord, Flag
from evaluator.threats.base import Threat

CHECKS = "honesty checks"
MOST_SAMPLES = 8  # passes averaged per question of the official search; the adaptive attack takes as many as it needs


@dataclass(frozen=True)
class Honest:
    """`inner` between the checks and a word about what they saw.

    randomized: the manifest declares random answers. The rows of the checks are a record of their own, after those of `inner`.
    """

    inner: Ensemble
    randomized: bool = False

    @property
    def name(self) -> str:
        """The inner ensemble's: what it decides is the same."""
        return self.inner.name

    def run(self, model: MeteredModel, batch: Batch, threat: Threat, observe: Callable[[Step], None]) -> Search:
        observe(Step(CHECKS, 0, len(batch)))
        spent, findings, asked = Tally(), list[Finding](), model
        with spent.spending(model.meter):
            sample = sampled(batch)
            if len(sample):
                subject = Subject(model, sample, threat, self.randomized)
                findings = examine(subject)
                if subject.random:
                    asked = Averaged(model, min(MOST_SAMPLES, choose_samples(subject.readable, sample[:8]).samples))
        spent.tried = len(sample)
        search = self.inner.run(asked, batch, threat, observe)
        survivors = int((search.broken_by < 0).sum())
        records = [*search.records, AttackRecord(name=CHECKS, survivors=survivors, **vars(spent))]
        return Search(search.points, search.broken_by, records, joined(search.flags, findings))


class Averaged(MeteredModel):
    """A random model as the mean of `samples` passes, each of them charged."""

    def __init__(self, once: MeteredModel, samples: int) -> None:
        super().__init__(once, once.meter, classes=once.classes)
        self.once, self.samples = once, samples

    def forward(self, x: Tensor) -> Tensor:
        """x (n, *shape) in [0, 1] -> mean logits (n, classes), differentiable in x."""
        return torch.stack([self.once(x) for _ in range(self.samples)]).mean(dim=0)

    def through(self, change: Callable[[Model], Model]) -> MeteredModel:
        """Every pass goes through `change`, then the mean is taken."""
        return Averaged(self.once.through(change), self.samples)


def joined(flags: list[Flag], findings: list[Finding]) -> list[Flag]:
    """The search's own flags and those of the checks that fired, one per check."""
    named = {flag.check for flag in flags}
    return [*flags, *(finding.flag for finding in findings if finding.fired and finding.check not in named)]
