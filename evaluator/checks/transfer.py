"""What transfers from another model must not find what this model's own gradients miss."""

from __future__ import annotations

from evaluator.attacks.gradients import glance
from evaluator.attacks.substitute import Substitute
from evaluator.checks.base import LONG, Check, Finding, Subject, register
from evaluator.threats.traits import Trait

ROUNDS, EPOCHS, ATTEMPTS = 4, 10, 2
ALLOWED = 1


@register
class Transfer(Check):
    """Adversarial inputs of a substitute on the examples that gradients left standing."""

    name = "transfer-beats-gradient"
    title = "Transfer beats the gradient"
    definition = (
        f"A substitute learns the model's labels on the sample and {ROUNDS} augmentations of it (Papernot et al. 2017); PGD "
        f"climbs the substitute from {ATTEMPTS} starts. Fires when more than {ALLOWED} of the examples that stand after {LONG} "
        "steps on the model itself fall, and answers are not random."
    )
    meaning = "The gradient of a poor copy leads further than the model's own: the model's own leads astray."
    remedy = "Look for what keeps gradients from reaching the input; declare a stand-in (`bpda`)."
    needs = Trait.DENSE
    elsewhere = "The substitute is trained and climbed in dense steps of pixel values."

    def run(self, subject: Subject) -> Finding:
        if subject.random:
            return self.says(False, "not measured: answers are random.")
        standing = subject.standing[~subject.long_climb.ever]
        if not len(standing):
            return self.says(False, "gradients left nothing standing.")
        batch = subject.batch.fork("transfer")
        attack = Substitute(rounds=ROUNDS, epochs=EPOCHS, attempts=ATTEMPTS)
        points = attack.run(subject.model, batch, subject.threat)[standing]
        fell = int(batch[standing].success(glance(subject.readable, batch[standing], subject.threat, points)).sum())
        return self.says(fell > ALLOWED, f"transfer broke {fell} of {len(standing)} that gradients left standing.")
