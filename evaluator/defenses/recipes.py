"""The shipped baselines: what each is trained on, how, and the threat it is measured under."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from pathlib import Path

from evaluator.defenses.training.augment import crop_and_mirror
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
    """One baseline.

    title: its name on the boards. threat: what its printed robust accuracy is measured under, by PGD of `steps` steps with
    `restarts` restarts on the first `measured` test images, once for each loss.
    """

    title: str
    dataset: str
    architecture: str
    method: Method
    settings: Settings
    threat: Threat
    steps: int = 100
    restarts: int = 10
    measured: int = 1000


def _mnist(title: str, method: Method, settings: Settings, threat: Threat) -> Recipe:
    return Recipe(title, "mnist", "mnist-cnn", method, settings, threat)


def _cifar10(title: str, method: Method, epochs: int, threat: Threat) -> Recipe:
    settings = Settings(
        epochs=epochs,
        batch_size=128,
        learning_rate=0.1,
        optimizer="sgd",
        weight_decay=5e-4,
        warmup=0.2,
        decay_from=0.4,
        augment=crop_and_mirror,
    )
    return Recipe(title, "cifar10", "cifar-resnet8", method, settings, threat, steps=50, restarts=2)


_LINF, _L2 = Linf(0.3), L2(2.0)
_CIFAR_LINF = Linf(8 / 255)
_PLAIN = Settings(epochs=6, batch_size=128, learning_rate=2e-3)
_WARM = Settings(epochs=15, batch_size=128, learning_rate=2e-3, budget_warmup=0.25)
RECIPES = {
    "mnist-standard": _mnist("Standard CNN", StandardTraining(), _PLAIN, _LINF),
    "mnist-fgsm": _mnist("CNN, FGSM-trained at Linf 0.3", FGSMTraining(_LINF), replace(_PLAIN, epochs=10), _LINF),
    "mnist-pgd": _mnist("CNN, PGD-trained at Linf 0.3", PGDTraining(_LINF, steps=7, step_size=0.08), _WARM, _LINF),
    "mnist-pgd-l2": _mnist(
        "CNN, PGD-trained at L2 2.0", PGDTraining(_L2, steps=5, step_size=0.8), replace(_WARM, epochs=8), _L2
    ),
    "cifar10-standard": _cifar10("Standard ResNet-8", StandardTraining(), 6, _CIFAR_LINF),
    "cifar10-pgd": _cifar10(
        "ResNet-8, PGD-trained at Linf 8/255", PGDTraining(_CIFAR_LINF, steps=2, step_size=5 / 255), 8, _CIFAR_LINF
    ),
}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name. Raises InputError naming the nearest ones."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=3, cutoff=0.4)
        hint = f"Nearest: {', '.join(near)}." if near else f"Known: {', '.join(sorted(RECIPES))}."
        raise InputError(f'there is no baseline named "{name}".', help=hint)
    return RECIPES[name]
