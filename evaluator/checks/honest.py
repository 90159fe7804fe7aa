"""An ensemble that doubts itself: honesty checks before the search, and an adaptive attack where they give reason to."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.adaptive.automatic import Automatic, Found, rewired
from evaluator.adaptive.eot_samples import choose_samples
from evaluator.attacks.base import Batch
from evaluator.attacks.gradients import glance
from evaluator.checks.base import Finding, Severity, Subject
from evaluator.checks.battery import examine, sampled
from evaluator.ensembles.base import Ensemble, Search, Step
from evaluator.ensembles.tally import Tally
from evaluator.models.evidence import Evidence
from evaluator.models.meter import Meter, MeteredModel
from evaluator.models.reading import ARGMAX, Reading
from evaluator.models.reservoir import View
from evaluator.models.turns import patiently
from evaluator.records.cost import cost
from evaluator.records.report import AttackRecord, Flag
from evaluator.threats.base import Threat
from evaluator.threats.physical import Physical

CHECKS = "honesty checks"
ADAPTIVE = "adaptive attack"
EXPLAINED = {"dynamic-inference", "gradient-accuracy", "non-differentiable-operations", "zero-gradients"}  # by a `bpda`
_DECLARE = "Declare what hides the gradient in defense.toml: `bpda`, `randomized` or `detector`."
MOST_MISSED = 1  # examples that checks may break and the search leave standing before the search is doubted
LEAST_ROWS = 3000  # that the adaptive attack may spend on each example that stands, where the search spent less in all
MOST_SAMPLES = 8  # passes averaged per question of the official search; the adaptive attack takes as many as it needs


@dataclass(frozen=True)
class Honest:
    """`inner` between the checks before it and, where there is reason to doubt it, the automatic adaptive attack after it.

    bpda: the manifest declares stand-ins, through which the checks and the search then differentiate; controls: images of the
    split that do not rank; alone: whether each image may be broken by a point of its own, else only the search breaks any.
    Whether answers are random, or may be refused, the batch's reading says. What the checks and the adaptive attack spend and
    break are two records of their own, after those of `inner`. The adaptive attack costs at most what the search did, or
    LEAST_ROWS for each example that stands.
    """

    inner: Ensemble
    bpda: bool = False
    controls: Batch | None = None
    alone: bool = True

    @property
    def name(self) -> str:
        """The inner ensemble's: it decides what an honest model is worth."""
        return self.inner.name

    def run(self, model: MeteredModel, batch: Batch, threat: Threat, observe: Callable[[Step], None]) -> Search:
        observe(Step(CHECKS, 0, len(batch)))
        checked, findings, searches = Tally(), list[Finding](), list[Search]()
        asked = (rewired(model, "declared") if self.bpda else None) or model
        evidence = Evidence(batch.x, threat)
        with checked.spending(model.meter):
            sample = (
                sampled(batch.noting(evidence) if self.alone else batch)
                if batch.target is None
                else _classified(asked, batch, threat)
            )
        subject = self._subject(asked.on(Meter(whole=model.meter)), sample, threat, batch.reading)

        def examined() -> None:
            if len(sample):
                with checked.spending(subject.model.meter), patiently():
                    findings.extend(examine(subject))

        def searched() -> None:
            searches.append(self.inner.run(asked.on(Meter(whole=model.meter)), batch, threat, observe))

        with checked.spending(subject.model.meter):
            random = subject.random if len(sample) else batch.reading.random
        if random and len(sample):
            examined()
            with checked.spending(subject.model.meter):
                asked = Averaged(asked, min(MOST_SAMPLES, choose_samples(subject.readable, sample[:8]).samples))
            searched()
        else:
            model.together(examined, searched)
        (search,) = searches
        checked.tried = len(sample)
        flags = self._relevant(joined(search.flags, findings), batch.reading)
        loosely = search.broken_by
        if random:
            loosely, strictly = self._outvoted(search, model, batch, threat)
            search = dataclasses.replace(search, broken_by=strictly)
        else:
            with checked.spending(model.meter):
                missed = self._missed(evidence, search, model, batch, threat)
            checked.broken = len(missed)
            search.points[missed], search.broken_by[missed] = evidence.points[missed], len(search.records)
            flags += self._doubts(len(missed), len(sample), batch.reading.refuses or isinstance(threat, Physical))
        standing = (search.broken_by < 0).nonzero().squeeze(1)
        records = [*search.records, AttackRecord(name=CHECKS, survivors=len(standing), **vars(checked))]
        spent_by_search = sum(cost(record.forward_rows, record.backward_rows) for record in search.records)
        budget = max(spent_by_search, LEAST_ROWS * len(standing))
        attack = Automatic(declared=self.bpda, random=random, budget=budget)
        spent, points, broken_by = Tally(), search.points.clone(), search.broken_by.clone()
        declared = self.bpda or batch.reading.random or batch.reading.refuses
        doubted = declared or any(flag.severity == "unverified" for flag in flags)
        if doubted and self.alone and len(standing):
            observe(Step(ADAPTIVE, len(batch) - len(standing), len(standing)))
            with spent.spending(model.meter):
                found = attack.run(model, batch[standing].fork(ADAPTIVE), threat)
            taken = found.broken | (found.barely & (loosely[standing] < 0))
            fell = standing[taken]
            points[fell], broken_by[fell] = found.points[taken], len(records)
            spent.tried, spent.broken = len(standing), len(fell)
            flags += self._undeclared(found, batch.reading)
        broken_by = torch.where(broken_by < 0, loosely, broken_by)
        records.append(AttackRecord(name=ADAPTIVE, survivors=int((broken_by < 0).sum()), **vars(spent)))
        return Search(points, broken_by, records, flags, [finding.record for finding in findings], search.errors)

    def _subject(self, asked: MeteredModel, sample: Batch, threat: Threat, reading: Reading) -> Subject:
        """What the checks look at: the classifier, whatever else a declared detector or vote makes of its answers."""
        return Subject(asked, dataclasses.replace(sample, reading=ARGMAX), threat, reading, self.controls)

    def _missed(self, evidence: Evidence, search: Search, model: MeteredModel, batch: Batch, threat: Threat) -> Tensor:
        """(m,) int64 examples that the search left standing although a check saw them break, asked once more."""
        seen = (evidence.found & (search.broken_by < 0)).nonzero().squeeze(1)
        if not len(seen):
            return seen
        part, points = batch[seen], evidence.points[seen]
        if isinstance(threat, Physical):  # the checks look at the object itself, the verdict at views of it
            return seen[threat.succeeds(model, part.x, points, part.success, part.draws.fork("evidence"))]
        return seen[part.success(glance(model, part, threat, points))]

    def _doubts(self, missed: int, sample: int, expected: bool) -> list[Flag]:
        """A search that loses to a check was led astray.

        expected: it may lose, since a detector stops it (the adaptive attack follows) or views decide, which is chance.
        """
        if not missed:
            return []
        evidence = (
            f"the checks broke {missed} of {sample} sampled examples that the search, which tries much harder, left standing."
        )
        severity: Severity = "unverified" if missed > MOST_MISSED and not expected else "info"
        return [Flag(check="checks-beat-search", severity=severity, evidence=evidence)]

    def _outvoted(self, search: Search, model: MeteredModel, batch: Batch, threat: Threat) -> tuple[Tensor, Tensor]:
        """`broken_by` of what holds on fresh randomness, and of what holds with room to spare: the rest is sought again.

        Where views decide, the search has asked fresh ones already: answers to the object itself say nothing about them.
        """
        if isinstance(threat, Physical):
            return search.broken_by, search.broken_by
        claimed = (search.broken_by >= 0).nonzero().squeeze(1)
        rendered = threat.apply(batch.x[claimed], search.points[claimed])
        votes, wanted = batch.reading.scored, batch.wanted[claimed]
        counts = votes.counts(model, rendered, model.classes)
        loosely, strictly = search.broken_by.clone(), search.broken_by.clone()
        loosely[claimed[~votes.broken(counts, wanted)]] = -1
        strictly[claimed[~votes.strict.broken(counts, wanted)]] = -1
        return loosely, strictly

    def _relevant(self, flags: list[Flag], reading: Reading) -> list[Flag]:
        """What a declaration explains is information: a stand-in's gradient is meant to differ from the function's, and the
        climbs of the search, which a detector stops, know of none."""
        stopped = {"black-box-beats-white-box"} if reading.refuses else set[str]()
        explained = (EXPLAINED if self.bpda else set[str]()) | stopped
        return [flag.model_copy(update={"severity": "info"}) if flag.check in explained else flag for flag in flags]

    def _undeclared(self, found: Found, reading: Reading) -> list[Flag]:
        """A flag where the adaptive attack won by means that the entry did not declare."""
        by = Counter(name for name in found.by if name and not name.startswith("declared"))
        if not by or reading.random:
            return []
        ways = ", ".join(f"{count} by {name}" for name, count in by.most_common())
        evidence = (
            f"of {len(found.by)} examples that the standard search left standing, the adaptive attack broke {ways}. {_DECLARE}"
        )
        return [Flag(check="adaptive-attack", severity="unverified", evidence=evidence)]


def _classified(model: MeteredModel, batch: Batch, threat: Threat) -> Batch:
    """The sample of a batch with targets: the checks measure how any wrong class is reached, which is no claim here, on the
    examples that are classified correctly."""
    sample = dataclasses.replace(sampled(batch), target=None)
    if not len(sample):
        return sample
    return sample[glance(model, sample, threat, threat.start(sample.x)).argmax(dim=1) == sample.y]


class Averaged(MeteredModel):
    """A random model as the mean of `samples` passes, each of them charged."""

    def __init__(self, once: MeteredModel, samples: int) -> None:
        super().__init__(once, once.meter, classes=once.classes, reading=once.reading)
        self.once, self.samples = once, samples

    def forward(self, x: Tensor) -> Tensor:
        """x (n, *shape) in [0, 1] -> mean logits (n, classes), differentiable in x."""
        return torch.stack([self.once(x) for _ in range(self.samples)]).mean(dim=0)

    def through(self, change: View, *, repeatable: bool = True) -> MeteredModel:
        """Every pass goes through `change`, then the mean is taken."""
        return Averaged(self.once.through(change, repeatable=repeatable), self.samples)


def joined(flags: list[Flag], findings: list[Finding]) -> list[Flag]:
    """The search's own flags and those of the checks that fired, one per check."""
    named = {flag.check for flag in flags}
    return [*flags, *(finding.flag for finding in findings if finding.fired and finding.check not in named)]
