"""Files and floats must meet the same model, and a detector must accept what no camera could tell from a clean image."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluator.checks.base import Check, Finding, Subject, register
from evaluator.models.leads import Leads
from evaluator.threats.grid import LEVELS, on_grid

JITTER = 0.2  # of a gray level
MOST = 0.1  # of the sample: clean images that the jitter may turn, random points that their rounded twins may differ from
FEW = 1
APART = 0.5  # of the lead, median over the sample: by so little of a gray level no honest network moves


@register
class FileGrid(Check):
    """Asks about clean images with a jitter, and about random points beside what a file can hold of them."""

    name = "file-grid"
    title = "Files meet another model than floats"
    definition = (
        f"Clean images are asked with a jitter of at most {JITTER:g} gray levels, and random points of the threat beside the "
        f"same points rounded to multiples of 1/{LEVELS}. Fires when more than {MOST:.0%} of the sample (at least {FEW + 1}) "
        "change their label or are refused by the jitter, when rounding changes for more of them whether they are refused, or "
        f"when the median lead moves by more than {APART:.0%} in one of the two. Not measured where answers are random."
    )
    meaning = "Attacks move by floats and real inputs are files: who answers them differently is searched as another model."
    remedy = "Answer floats as you answer files; declare a quantizer's stand-in with `bpda`, or drop it."

    def run(self, subject: Subject) -> Finding:
        if subject.random:
            return self.says(False, "not measured: answers are random.")
        x, reading = subject.batch.x, subject.reading
        noise = (2 * subject.batch.draws.fork("jitter").uniform(*x.shape[1:]) - 1) * (JITTER / LEVELS)
        clean, shaken = subject.said(x), subject.said((x + noise).clamp(0, 1))
        turned = int(
            ((clean.argmax(dim=1) != shaken.argmax(dim=1)) | (reading.refused(shaken) & ~reading.refused(clean))).sum()
        )
        most, moved = max(FEW, MOST * len(x)), [_moved(clean, shaken)]
        evidence = (
            f"{turned} of {len(x)} clean images were answered differently or refused with a jitter of {JITTER:g} gray levels"
        )
        differ, twins = 0, on_grid(x, subject.probes, subject.threat)
        if twins is not None:
            points, files = subject.answers(subject.probes), subject.answers(twins)
            differ = int((reading.refused(points) != reading.refused(files)).sum())
            moved.append(_moved(points, files))
            evidence += f"; {differ} of as many random points were refused otherwise than their rounded twins"
        evidence += f"; the median lead moved by {max(moved):.0%}."
        return self.says(turned > most or differ > most or max(moved) > APART, evidence)


def _moved(one: Tensor, other: Tensor) -> float:
    """By how much of the lead two answers differ, the median over rows."""
    leads = Leads.of(one, other)
    return float((leads.moved / leads.larger.clamp_min(torch.finfo(torch.float32).tiny)).median())
