"""Training for certificates does what it is for: on a small task, more is certified after it than after plain training."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from evaluator.certify import certify
from evaluator.data import load
from evaluator.defenses.architectures import find, load_weights
from evaluator.defenses.networks.denoised import Denoised
from evaluator.defenses.recipes import BASELINES, find_recipe
from evaluator.defenses.train import initialised
from evaluator.defenses.training.crown_ibp_training import CrownIBPTraining
from evaluator.defenses.training.denoised_smoothing import DenoisedSmoothing
from evaluator.defenses.training.fit import Settings, fit
from evaluator.defenses.training.ibp_training import IBPTraining
from evaluator.defenses.training.method import Method
from evaluator.defenses.training.noise_training import NoiseTraining
from evaluator.defenses.training.smoothadv import SmoothAdv
from evaluator.defenses.training.standard import StandardTraining
from evaluator.threats import Linf

SIGMA = 0.5


def task(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images of 1 x 6 x 6: the class is the brighter half; both halves carry texture noise. uint8 and labels."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (count,), generator=generator)
    x = 110 + 50 * torch.rand(count, 1, 6, 6, generator=generator)
    x[torch.arange(count), 0, :3] += 50 * (y == 0)[:, None, None]
    x[torch.arange(count), 0, 3:] += 50 * (y == 1)[:, None, None]
    return x.clamp(0, 255).to(torch.uint8), y


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(288, 32), nn.ReLU(), nn.Linear(32, 2)
    )


def trained(method: Method, network: nn.Module | None = None, epochs: int = 4) -> nn.Module:
    network = small() if network is None else network
    images, labels = task(1024, 0)
    settings = Settings(epochs=epochs, batch_size=64, learning_rate=5e-3, budget_warmup=0.6)
    fit(network, images, labels, method, settings, seed=0)
    return network.requires_grad_(False)


def share(network: nn.Module, **options: object) -> float:
    images, y = task(40, 1)
    found = certify(network, images.float() / 255, y, **options)  # type: ignore[arg-type]
    return float(found.certified.double().mean())


def test_interval_training_makes_interval_bounds_prove_what_standard_training_leaves_open() -> None:
    threat = Linf(0.08)
    plain = share(trained(StandardTraining()), threat=threat, method="ibp")
    for method in (IBPTraining(0.09), CrownIBPTraining(0.09)):
        assert share(trained(method), threat=threat, method="ibp") > plain + 0.3


def test_training_with_noise_certifies_more_under_that_noise() -> None:
    options = {"method": "smoothing", "sigma": SIGMA, "radii": (0.3,), "n": 2000, "seed": 1}
    plain = share(trained(StandardTraining()), **options)
    noisy = share(trained(NoiseTraining(SIGMA)), **options)
    adversarial = share(trained(SmoothAdv(SIGMA, epsilon=0.5)), **options)
    assert noisy >= 0.9
    assert adversarial >= 0.9
    assert noisy >= plain


def test_a_denoiser_leaves_its_classifier_untouched_and_lowers_the_error_of_noisy_images() -> None:
    classifier = trained(StandardTraining())
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    network = Denoised(classifier, 1, width=8, depth=3)
    trained(DenoisedSmoothing(SIGMA), network)
    assert all(torch.equal(before[name], value) for name, value in classifier.state_dict().items())
    x = task(200, 2)[0].float() / 255
    noisy = x + SIGMA * torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    assert float((network.clean(noisy) - x).square().mean()) < 0.3 * float((noisy - x).square().mean())


@pytest.mark.parametrize("factor", [1, 2])
def test_a_classifier_and_its_denoiser_are_certified_as_one_network(factor: int) -> None:
    classifier = trained(StandardTraining())
    network = trained(DenoisedSmoothing(SIGMA), Denoised(classifier, 1, width=16, depth=3, factor=factor))
    options = {"method": "smoothing", "sigma": SIGMA, "n": 2000, "seed": 1}
    assert share(network, radii=(0.2,), **options) >= 0.9
    assert share(network, radii=(1.2,), **options) == 0.0  # farther than half of the two classes lie apart


def test_the_shipped_denoiser_triples_what_its_frozen_classifier_certifies() -> None:
    data = load("mnist", "test")
    x, y = data.images[:20].float() / 255, data.labels[:20]
    found = {}
    for name in ("mnist-standard", "mnist-denoised"):
        network = load_weights(find_recipe(name).architecture, BASELINES / name / "weights.safetensors")
        options = {"sigma": 0.5, "radii": (0.75,), "n": 500, "seed": 1}
        found[name] = int(certify(network, x, y, method="smoothing", **options).certified.sum())
    assert found["mnist-denoised"] >= 14
    assert found["mnist-denoised"] >= 3 * found["mnist-standard"]


@pytest.mark.parametrize("name", ["mnist-denoised", "cifar10-denoised"])
def test_a_recipe_for_denoised_smoothing_begins_with_the_shipped_classifier_frozen_behind_a_denoiser(name: str) -> None:
    recipe = find_recipe(name)
    network = initialised(recipe, seed=0)
    assert isinstance(network, Denoised)
    assert recipe.classifier is not None
    inner = find_recipe(recipe.classifier).architecture
    shipped = load_weights(inner, BASELINES / recipe.classifier / "weights.safetensors").state_dict()
    assert all(torch.equal(shipped[name], value) for name, value in network.classifier.state_dict().items())
    assert {name.split(".")[0] for name, weight in network.named_parameters() if weight.requires_grad} == {"denoiser"}
    assert network(torch.rand(2, *find(recipe.architecture).shape)).shape == (2, 10)


def test_the_shipped_denoised_network_holds_the_very_weights_of_its_classifier() -> None:
    network = load_weights("mnist-denoised-cnn", BASELINES / "mnist-denoised" / "weights.safetensors")
    assert isinstance(network, Denoised)
    shipped = load_weights("mnist-cnn", BASELINES / "mnist-standard" / "weights.safetensors").state_dict()
    assert all(torch.equal(shipped[name], value) for name, value in network.classifier.state_dict().items())
