"""The training methods, the loop that runs them, and the command that trains a baseline."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional

from evaluator.defenses.architectures import build, load_weights, names
from evaluator.defenses.recipes import RECIPES, find_recipe
from evaluator.defenses.train import choose_device, write
from evaluator.defenses.training.augment import crop_and_mirror
from evaluator.defenses.training.fgsm_training import FGSMTraining
from evaluator.defenses.training.fit import Settings, Step, fit
from evaluator.defenses.training.method import Method, Minibatch
from evaluator.defenses.training.pgd_training import PGDTraining
from evaluator.defenses.training.standard import StandardTraining
from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.manifests.spec import DefenseManifest, load_manifest
from evaluator.threats import L2, Linf

SETTINGS = Settings(epochs=2, batch_size=32, learning_rate=1e-2, budget_warmup=0.25)


def stripes(count: int = 256) -> tuple[Tensor, Tensor]:
    """Images of 8 x 8 bytes whose brighter half is the class, and the classes."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(2, (count,), generator=generator)
    images = torch.randint(80, (count, 1, 8, 8), generator=generator)
    images[:, 0, :4] += 100 * (labels == 0)[:, None, None]
    images[:, 0, 4:] += 100 * (labels == 1)[:, None, None]
    return images.to(torch.uint8), labels


def small_net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2))


def trained(method: Method, *, seed: int = 0, settings: Settings = SETTINGS) -> tuple[nn.Module, list[Step]]:
    network, steps = small_net(), list[Step]()
    fit(network, *stripes(), method, settings, seed=seed, on_step=steps.append)
    return network, steps


def minibatch(strength: float = 1.0, count: int = 16) -> Minibatch:
    images, labels = stripes(count)
    return Minibatch(images.float() / 255, labels, Draws(0, torch.arange(count)), strength)


METHODS = [StandardTraining(), FGSMTraining(Linf(0.05)), PGDTraining(Linf(0.05), 3, 0.02), PGDTraining(L2(0.3), 3, 0.15)]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_training_learns_and_ends_in_eval_mode(method: Method) -> None:
    network, steps = trained(method)
    assert not network.training
    assert steps[-1].accuracy > 0.9
    assert steps[-1].loss < steps[0].loss
    assert [(step.number, step.total, step.epoch) for step in steps] == [(i, 16, 1 + (i > 8)) for i in range(1, 17)]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_the_same_seed_gives_the_same_weights_bit_for_bit(method: Method) -> None:
    first, second, other = (trained(method, seed=seed)[0].state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_training_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    fit(small_net(), *stripes(), PGDTraining(Linf(0.05), 2, 0.03), SETTINGS, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)


class Recording(nn.Module):
    """A network that remembers its inputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.seen = network, list[Tensor]()

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        logits: Tensor = self.network(x)
        return logits


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.5)], ids=str)
@pytest.mark.parametrize("strength", [0.25, 1.0])
def test_pgd_training_stays_within_the_warmed_up_budget_and_uses_it(threat: Linf | L2, strength: float) -> None:
    network, batch = Recording(small_net()), minibatch(strength)
    value = PGDTraining(threat, steps=4, step_size=threat.epsilon / 2).loss(network, batch).value
    distance = threat.distance(batch.x, network.seen[-1])
    assert len(network.seen) == 5
    assert float(distance.max()) <= threat.epsilon * strength + 1e-6
    assert float(distance.max()) > 0.9 * threat.epsilon * strength
    assert bool(value > functional.cross_entropy(network.network(batch.x), batch.y))


def test_fgsm_training_trains_on_one_step_of_the_whole_budget() -> None:
    network, batch = Recording(small_net()), minibatch()
    FGSMTraining(Linf(0.1)).loss(network, batch)
    x = batch.x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(functional.cross_entropy(network.network(x), batch.y, reduction="sum"), x)
    assert torch.allclose(network.seen[-1], (batch.x + 0.1 * gradient.sign()).clamp(0, 1), atol=1e-6)


def test_the_schedules_rise_hold_and_fall() -> None:
    settings = Settings(epochs=1, batch_size=1, learning_rate=2.0, warmup=0.1, decay_from=0.5, budget_warmup=0.25)
    assert [settings.rate(p) for p in (0.0, 0.05, 0.1, 0.5, 0.75, 1.0)] == pytest.approx([0, 1, 2, 2, 1, 0])
    assert [settings.strength(p) for p in (0.125, 0.25, 1.0)] == pytest.approx([0.5, 1, 1])
    assert Settings(epochs=1, batch_size=1, learning_rate=2.0).strength(0.01) == 1


def test_crops_and_mirror_images_are_the_same_pictures_moved() -> None:
    images = torch.arange(1, 1 + 64 * 3 * 64).reshape(64, 3, 8, 8)
    moved = crop_and_mirror(images, torch.Generator().manual_seed(0))
    padded = functional.pad(images, (4, 4, 4, 4))
    seen = set()
    for original, result in zip(padded, moved, strict=True):
        fits = [
            (top, left, mirrored)
            for top in range(9)
            for left in range(9)
            for mirrored in (False, True)
            if torch.equal(result.flip(2) if mirrored else result, original[:, top : top + 8, left : left + 8])
        ]
        assert len(fits) == 1
        seen.update(fits)
    assert len(seen) > 32
    assert {mirrored for _, _, mirrored in seen} == {False, True}


def test_every_recipe_names_a_known_architecture_and_writes_a_valid_submission(tmp_path: Path) -> None:
    for name, recipe in RECIPES.items():
        assert recipe.architecture in names()
        assert find_recipe(name) is recipe
        write(tmp_path / name, name, recipe, build(recipe.architecture), command="c", seconds=61, figures=["clean"])
        manifest = load_manifest(tmp_path / name / "defense.toml", DefenseManifest)
        assert (manifest.name, manifest.format) == (recipe.title, "safetensors")
        load_weights(str(manifest.architecture), tmp_path / name / str(manifest.weights))
        assert "Trained with `c`" in (tmp_path / name / "TRAINING.md").read_text()


def test_an_unknown_baseline_a_bad_device_and_no_epochs_are_shown_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'no baseline named "mnist-pdg"\. Nearest: mnist-pgd'):
        find_recipe("mnist-pdg")
    with pytest.raises(InputError, match=r"--device: .* cannot be used here.*Use auto or cpu\."):
        choose_device("no-such-device")
    assert choose_device("cpu") == torch.device("cpu")
    program = [sys.executable, "-m", "evaluator.defenses.train", "mnist-standard", "--out", str(tmp_path), "--epochs", "0"]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, "Traceback" in ended.stderr) == (1, False)
    assert "--epochs: must be at least 1, got 0." in ended.stderr


def test_a_baseline_is_trained_measured_and_judged_by_the_same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    from evaluator.defenses import train

    images, labels = stripes(512)
    wide = functional.interpolate(images.float(), size=(28, 28)).to(torch.uint8)
    data = dataclasses.replace(train.load("mnist", "test"), images=wide, labels=labels)
    monkeypatch.setattr(train, "load", lambda dataset, split: data)
    settings = dataclasses.replace(SETTINGS, learning_rate=1e-3)
    recipe = dataclasses.replace(RECIPES["mnist-standard"], settings=settings, steps=20, restarts=2, measured=40)
    quiet = Console(quiet=True)
    network = train.train(recipe, seed=0, device=torch.device("cpu"), console=quiet)
    clean, fgsm, pgd = train.measure(network, recipe, seed=0, console=quiet)
    assert clean == "clean accuracy 100.00 % on 512 test images"
    assert fgsm.startswith("linf 0.3, FGSM: ")
    assert pgd == "linf 0.3, PGD-20 with 2 restarts, cross-entropy and margin: 0.0 % on the first 40"
