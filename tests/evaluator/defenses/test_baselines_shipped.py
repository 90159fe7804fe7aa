"""The baselines that ship with the project: small, loadable, and as accurate and as robust as their TRAINING.md says."""

from __future__ import annotations

import re

import pytest
from torch import nn

from evaluator.attacks import PGD
from evaluator.data import load
from evaluator.defenses.architectures import load_weights
from evaluator.defenses.recipes import BASELINES, RECIPES
from evaluator.manifests.spec import DefenseManifest, load_manifest

MEGABYTES = 2_000_000
MNIST = [name for name in RECIPES if name.startswith("mnist")]
CIFAR10 = ["cifar10-standard", "cifar10-pgd", "cifar10-smooth"]


def baseline(name: str) -> nn.Module:
    manifest = load_manifest(BASELINES / name / "defense.toml", DefenseManifest)
    return load_weights(str(manifest.architecture), BASELINES / name / str(manifest.weights)).requires_grad_(False)


def stated(name: str, figure: str) -> float:
    """The percentage that TRAINING.md gives for a figure."""
    found = re.search(rf"{figure}\D*([\d.]+) %", (BASELINES / name / "TRAINING.md").read_text())
    assert found is not None
    return float(found[1])


def test_a_folder_ships_for_every_mnist_recipe_and_three_of_cifar10_and_none_else() -> None:
    assert sorted(path.name for path in BASELINES.iterdir() if path.is_dir()) == sorted(MNIST + CIFAR10)


@pytest.mark.parametrize("name", MNIST + CIFAR10)
def test_its_weights_stay_below_two_megabytes_and_its_command_is_stated(name: str) -> None:
    assert (BASELINES / name / "weights.safetensors").stat().st_size < MEGABYTES
    command = f"python -m evaluator.defenses.train {name} --out evaluator/defenses/baselines/{name}"
    assert command in (BASELINES / name / "TRAINING.md").read_text()


@pytest.mark.parametrize("name", MNIST)
def test_its_clean_accuracy_is_the_stated_one(name: str) -> None:
    network, data = baseline(name), load("mnist", "test")
    correct = sum(
        int((network(x / 255).argmax(1) == y).sum())
        for x, y in zip(data.images.float().split(1000), data.labels.split(1000), strict=True)
    )
    assert round(correct / 100, 2) == pytest.approx(stated(name, "clean accuracy"), abs=0.02)


@pytest.mark.parametrize(
    ("name", "lowest", "highest"), [("mnist-pgd", 0.85, 1.0), ("mnist-standard", 0, 0), ("mnist-fgsm", 0, 0)]
)
def test_its_robust_accuracy_under_pgd_is_what_its_training_promises(name: str, lowest: float, highest: float) -> None:
    network, data, threat = baseline(name), load("mnist", "test"), RECIPES[name].threat
    x, y = data.images[:100].float() / 255, data.labels[:100]
    points = PGD(steps=40, step_size=0.02, loss="margin")(network, x, y, threat)
    assert lowest <= float((network(points).argmax(1) == y).float().mean()) <= highest


def test_the_fgsm_trained_one_shows_catastrophic_overfitting() -> None:
    assert stated("mnist-fgsm", "FGSM:") > 90
    assert stated("mnist-fgsm", "cross-entropy and margin:") < 10
