"""Clean inputs and the inputs of an attack must be treated alike."""

from __future__ import annotations

from torch import Tensor

from evaluator.checks.base import Check, Finding, Subject, register, share
from evaluator.ensembles.outputs import are_probabilities

REPEATED = 0.25
LARGER = 20.0


@register
class TrafficAnomalies(Check):
    """Compares answers to clean images and to where a climb has ended; how long they took is nobody's evidence."""

    name = "traffic-anomalies"
    title = "Attack traffic is treated differently"
    definition = (
        f"Clean images and the ends of the shared climb are asked. Fires when {REPEATED:.0%} more of the answers to attack "
        "traffic than of the others are bit-for-bit copies of one another, or when the median largest logit (less the mean of "
        f"its row, which names no class) of one kind exceeds the other's by more than a factor {LARGER:g}. Seconds are not "
        "compared: they would make the verdict depend on what else the machine does."
    )
    meaning = "A model that notices the attack and answers it by another rule shows the attack something else than it deploys."
    remedy = (
        "Answer every input by the same rule, or declare `detector = true` in defense.toml. The score is then the last "
        "column of the answer. Refusing a clean image is an error."
    )

    def run(self, subject: Subject) -> Finding:
        calm, answers = subject.said(subject.batch.x), subject.answers(subject.climb.points)
        copied = 0.0 if are_probabilities(answers) else share(_copies(answers)) - share(_copies(calm))
        sizes = sorted(float((rows - rows.mean(dim=1, keepdim=True)).abs().amax(dim=1).median()) for rows in (calm, answers))
        jump = sizes[1] / max(sizes[0], 1e-12)
        evidence = f"{copied:.0%} more copies among answers to attacks; largest logits differ by a factor {jump:.2f}."
        return self.says(copied >= REPEATED or jump > LARGER, evidence)


def _copies(answers: Tensor) -> Tensor:
    """(n,) bool: the row's very bits are the answer to another input too."""
    same = (answers[:, None] == answers[None]).all(dim=2)
    return same.sum(dim=1) > 1
