"""Clean inputs and the inputs of an attack must be treated alike."""

from __future__ import annotations

import time

from torch import Tensor

from evaluator.checks.base import Check, Finding, Subject, register, share
from evaluator.ensembles.outputs import are_probabilities

REPEATS = 5
SLOWER = 3.0
SECONDS = 0.02
REPEATED = 0.25
LARGER = 20.0


@register
class TrafficAnomalies(Check):
    """Times and compares answers to clean images and to where a climb has ended."""

    name = "traffic-anomalies"
    title = "Attack traffic is treated differently"
    definition = (
        f"Clean images and the ends of the shared climb are asked {REPEATS} times in turn. Fires when the fastest answers to "
        f"one kind take more than {SLOWER:g} times as long as to the other (and {SECONDS:g} s more), when {REPEATED:.0%} more "
        "of the answers to attack traffic are bit-for-bit copies of one another, or when the median largest logit (less the "
        f"mean of its row, which names no class) of one kind exceeds the other's by more than a factor {LARGER:g}."
    )
    meaning = "A model that notices the attack and answers it by another rule shows the attack something else than it deploys."
    remedy = (
        "Answer every input by the same rule, or declare `detector = true` in defense.toml and give its score as a last "
        "column of the answer; refusing a clean image is an error."
    )

    def run(self, subject: Subject) -> Finding:
        clean, attack = subject.threat.start(subject.batch.x), subject.climb.points
        fastest = {"clean": float("inf"), "attack": float("inf")}
        for _ in range(REPEATS):
            for kind, points in (("clean", clean), ("attack", attack)):
                begun = time.perf_counter()
                answers = subject.answers(points)
                fastest[kind] = min(fastest[kind], time.perf_counter() - begun)
                if kind == "clean":
                    calm = answers
        short, long = sorted(fastest.values())
        slow = long > SLOWER * short and long - short > SECONDS
        copied = 0.0 if are_probabilities(answers) else share(_copies(answers)) - share(_copies(calm))
        sizes = sorted(float((rows - rows.mean(dim=1, keepdim=True)).abs().amax(dim=1).median()) for rows in (calm, answers))
        jump = sizes[1] / max(sizes[0], 1e-12)
        # Seconds are no part of the evidence: it must be the same when the evaluation is replayed.
        timing = f"one kind takes more than {SLOWER:g} times as long" if slow else "both kinds take about as long"
        evidence = f"{timing}; {copied:.0%} more copies among answers to attacks; largest logits differ by a factor {jump:.2f}."
        return self.says(slow or copied >= REPEATED or jump > LARGER, evidence)


def _copies(answers: Tensor) -> Tensor:
    """(n,) bool: the row's very bits are the answer to another input too."""
    same = (answers[:, None] == answers[None]).all(dim=2)
    return same.sum(dim=1) > 1
