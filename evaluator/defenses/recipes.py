"""The shipped baselines: what each is trained on, how, and the threat it is measured under."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from pathlib import Path

from evaluator.defenses.training.augment import crop_and_mirror
from evaluator.defenses.training.crown_ibp_training import CrownIBPTraining
from evaluator.defenses.training.denoised_smoothing import DenoisedSmoothing
from evaluator.defenses.training.fgsm_training import FGSMTraining
from evaluator.defenses.training.fit import Settings
from evaluator.defenses.training.ibp_training import IBPTraining
from evaluator.defenses.training.method import Method
from evaluator.defenses.training.noise_training import NoiseTraining
from evaluator.defenses.training.pgd_training import PGDTraining
from evaluator.defenses.training.smoothadv import SmoothAdv
from evaluator.defenses.training.standard import StandardTraining
from evaluator.errors import InputError
from evaluator.manifests.certificate_specs import CertificateSpec
from evaluator.threats import L2, Linf, Threat

BASELINES = Path(__file__).resolve().parent / "baselines"


@dataclass(frozen=True)
class Recipe:
    """One baseline.

    title: its name on the boards. threat: what its printed robust accuracy is measured under, by PGD of `steps` steps with
    `restarts` restarts on the first `measured` test images, once for each loss. certificate: what its defense.toml asks for.
    classifier: the baseline whose weights a network with a frozen `classifier` inside begins, and ends, with.
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
    certificate: CertificateSpec | None = None
    classifier: str | None = None


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


def _smoothed(recipe: Recipe, sigma: float) -> Recipe:
    """A base classifier for smoothing: certified under Gaussian noise of `sigma`, measured briefly as a plain one."""
    return replace(recipe, restarts=1, measured=500, certificate=CertificateSpec(method="smoothing", sigma=sigma))


def _bounded(recipe: Recipe) -> Recipe:
    """Trained for interval bounds and certified by them: as tight there as linear relaxation, and far cheaper."""
    return replace(recipe, restarts=1, measured=500, certificate=CertificateSpec(method="ibp"))


_LINF, _L2 = Linf(0.3), L2(2.0)
_CIFAR_LINF = Linf(8 / 255)
_PLAIN = Settings(epochs=6, batch_size=128, learning_rate=2e-3)
_WARM = Settings(epochs=15, batch_size=128, learning_rate=2e-3, budget_warmup=0.25)
_SLOW = Settings(epochs=20, batch_size=128, learning_rate=1e-3, budget_warmup=0.6, decay_from=0.7)  # bounds explode if hurried
RECIPES = {
    "mnist-standard": _mnist("Standard CNN", StandardTraining(), _PLAIN, _LINF),
    "mnist-fgsm": _mnist("CNN, FGSM-trained at Linf 0.3", FGSMTraining(_LINF), replace(_PLAIN, epochs=10), _LINF),
    "mnist-pgd": _mnist("CNN, PGD-trained at Linf 0.3", PGDTraining(_LINF, steps=7, step_size=0.08), _WARM, _LINF),
    "mnist-pgd-l2": _mnist(
        "CNN, PGD-trained at L2 2.0", PGDTraining(_L2, steps=5, step_size=0.8), replace(_WARM, epochs=8), _L2
    ),
    "mnist-smooth": _smoothed(_mnist("CNN, trained under noise of 0.5", NoiseTraining(0.5), _PLAIN, L2(1.0)), 0.5),
    "mnist-denoised": replace(
        _smoothed(_mnist("Standard CNN behind a denoiser", DenoisedSmoothing(0.5), replace(_PLAIN, epochs=4), L2(1.0)), 0.5),
        architecture="mnist-denoised-cnn",
        classifier="mnist-standard",
        measured=200,
    ),
    "mnist-ibp": _bounded(
        Recipe("CNN-A, IBP-trained at Linf 0.3", "mnist", "mnist-cnn-a", IBPTraining(0.3), _SLOW, _LINF),
    ),
    "cifar10-standard": _cifar10("Standard ResNet-8", StandardTraining(), 4, _CIFAR_LINF),
    "cifar10-pgd": _cifar10(
        "ResNet-8, PGD-trained at Linf 8/255", PGDTraining(_CIFAR_LINF, steps=2, step_size=5 / 255), 8, _CIFAR_LINF
    ),
    "cifar10-smooth": _smoothed(_cifar10("ResNet-8, trained under noise of 0.25", NoiseTraining(0.25), 30, L2(0.5)), 0.25),
    "cifar10-smoothadv": _smoothed(_cifar10("ResNet-8, SmoothAdv with noise of 0.25", SmoothAdv(0.25, 0.5), 30, L2(0.5)), 0.25),
    "cifar10-denoised": replace(
        _smoothed(_cifar10("Standard ResNet-8 behind a denoiser", DenoisedSmoothing(0.25), 20, L2(0.5)), 0.25),
        architecture="cifar-denoised-resnet8",
        classifier="cifar10-standard",
        settings=Settings(epochs=20, batch_size=128, learning_rate=1e-3),
    ),
    "cifar10-crown-ibp": _bounded(
        replace(
            _cifar10("CNN-A, CROWN-IBP-trained at Linf 2/255", CrownIBPTraining(2 / 255), 60, Linf(2 / 255)),
            architecture="cifar-cnn-a",
            settings=Settings(epochs=60, batch_size=128, learning_rate=5e-4, budget_warmup=0.6, augment=crop_and_mirror),
        )
    ),
}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name. Raises InputError naming the nearest ones."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=3, cutoff=0.4)
        hint = f"Nearest: {', '.join(near)}." if near else f"Known: {', '.join(sorted(RECIPES))}."
        raise InputError(f'there is no baseline named "{name}".', help=hint)
    return RECIPES[name]
