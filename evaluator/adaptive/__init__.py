"""Building blocks of adaptive attacks: differentiate through what hides the gradient, average over what is random.

They change what an attack differentiates, never what is judged: success counts on the unmodified model only (`surrogates`).
"""

from importlib import import_module
from typing import TYPE_CHECKING

from evaluator.adaptive.bpda import BPDA, clamped_thermometer, identity, replaced, with_backward

if TYPE_CHECKING:
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

# Loaded when first asked for: the host needs the stand-ins above alone, and these bring every attack and threat along.
_LATER = {
    "EOT": "eot",
    "ChosenSamples": "eot_samples",
    "choose_samples": "eot_samples",
    "ThroughSurrogates": "surrogates",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
