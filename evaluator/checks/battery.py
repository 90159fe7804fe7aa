"""All checks on one model, at a few per cent of an evaluation's rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from evaluator.attacks.base import Batch
from evaluator.checks.base import SAMPLE, Check, Finding, Subject, registered


def sampled(batch: Batch) -> Batch:
    """At most SAMPLE examples with random streams of their own; which ones does not depend on their order."""
    dice = batch.draws.fork("honesty").uniform(1).squeeze(1)
    chosen = dice.argsort(stable=True)[:SAMPLE]
    return batch[torch.sort(chosen).values].fork("honesty")


def examine(subject: Subject, checks: Sequence[Check] | None = None) -> list[Finding]:
    """Runs every check that applies to the subject's threat, in the order of `checks` (default: all, by name).

    The subject's batch: examples that the model classifies correctly, at least one. Returns one finding per check, fired
    or not.
    """
    wanted = registered() if checks is None else checks
    return [check.run(subject) for check in wanted if check.applies(subject.threat)]
