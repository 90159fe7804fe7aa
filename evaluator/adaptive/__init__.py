"""Building blocks of adaptive attacks: differentiate through what hides the gradient, average over what is random.

They change what an attack differentiates, never what is judged: success counts on the unmodified model only (`surrogates`).
"""

from evaluator.adaptive.bpda import BPDA, clamped_thermometer, identity, replaced, with_backward
from evaluator.adaptive.eot import EOT
from evaluator.adaptive.eot_samples import ChosenSamples, choose_samples
from evaluator.adaptive.surrogates import ThroughSurrogates

__all__ = [
    "BPDA",
    "EOT",
    "ChosenSamples",
    "ThroughSurrogates",
    "choose_samples",
    "clamped_thermometer",
    "identity",
    "replaced",
    "with_backward",
]
