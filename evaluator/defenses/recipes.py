"""The shipped baselines: what each is trained on, how, and the threat it is measured under."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from evaluator.defenses.training.fgsm_training import FGSMTraining
from evaluator.defenses.training.fit import Settings
from evaluator.defenses.training.method import Method
from evaluator.defenses.training.pgd_training import PGDTraining
from evaluator.defenses.training.standard import StandardTraining
from evaluator.errors import InputError
from evaluator.threats import L2, Linf, Threat

BASELINES = Path(__file__).resolve().parent / "baselines"


@dataclass(frozen=True)
class Recipe:
    """One baseline. title: its name on the boards; threat: what its printed robust accuracy is measured under."""

    title: str
    dataset: str
    architecture: str
    method: Method
    settings: Settings
    threat: Threat


_LINF, _L2 = Linf(0.3), L2(2.0)
_WARM = Settings(epochs=15, batch_size=128, learning_rate=2e-3, budget_warmup=0.25)
RECIPES = {
    "mnist-standard": Recipe(
        "Standard CNN", "mnist", "mnist-cnn", StandardTraining(), Settings(epochs=6, batch_size=128, learning_rate=2e-3), _LINF
    ),
    "mnist-fgsm": Recipe(
        "CNN, FGSM-trained at Linf 0.3",
        "mnist",
        "mnist-cnn",
        FGSMTraining(_LINF),
        Settings(epochs=10, batch_size=128, learning_rate=2e-3),
        _LINF,
    ),
    "mnist-pgd": Recipe(
        "CNN, PGD-trained at Linf 0.3", "mnist", "mnist-cnn", PGDTraining(_LINF, steps=7, step_size=0.08), _WARM, _LINF
    ),
    "mnist-pgd-l2": Recipe(
        "CNN, PGD-trained at L2 2.0", "mnist", "mnist-cnn", PGDTraining(_L2, steps=7, step_size=0.6), _WARM, _L2
    ),
}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name. Raises InputError naming the nearest ones."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=3, cutoff=0.4)
        hint = f"Nearest: {', '.join(near)}." if near else f"Known: {', '.join(sorted(RECIPES))}."
        raise InputError(f'there is no baseline named "{name}".', help=hint)
    return RECIPES[name]
