"""Trains and writes what reference entries ship: `python -m evaluator.defenses.reference.train [NAME ...]`.

Minutes on one core for all of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from evaluator.attacks import FGSM
from evaluator.data import load
from evaluator.defenses.reference.ape_gan.defense import generator as ape_generator
from evaluator.defenses.reference.base import small_network, standard_network
from evaluator.defenses.reference.defense_gan.defense import LATENT, generator
from evaluator.defenses.reference.kwta.defense import network as kwta_network
from evaluator.defenses.reference.magnet.defense import autoencoder
from evaluator.defenses.reference.pixel_defend.defense import LEVELS, before, pixel_model
from evaluator.defenses.reference.thermometer.defense import network as thermometer_network
from evaluator.threats import Linf

FOLDER = Path(__file__).resolve().parent
IMAGES, MINIBATCH, RATE = 30_000, 100, 2e-3
TEMPERATURE = 100.0
ADVERSARIAL = 1e-3  # weight of the discriminator beside the mean squared error
Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def fit(network: nn.Module, loss: Loss, *, epochs: int) -> nn.Module:
    """Adam with a cosine schedule on the first IMAGES training images."""
    data, generator_ = load("mnist", "train"), torch.Generator().manual_seed(0)
    x, y = data.images[:IMAGES].float() / 255, data.labels[:IMAGES]
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (IMAGES // MINIBATCH))
    network.train()
    for _ in range(epochs):
        for some in torch.randperm(IMAGES, generator=generator_).split(MINIBATCH):
            optimizer.zero_grad()
            torch.autograd.backward(loss(network, x[some], y[some]))
            optimizer.step()
            schedule.step()
    return network.eval().requires_grad_(False)


def classification(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy."""
    return functional.cross_entropy(network(x), y)


def train_thermometer() -> dict[str, Tensor]:
    """The network that reads the code."""
    return fit(thermometer_network(), classification, epochs=4).state_dict()


def train_kwta() -> dict[str, Tensor]:
    """The network whose activations compete."""
    return fit(kwta_network(), classification, epochs=5).state_dict()


def train_distillation() -> dict[str, Tensor]:
    """A teacher at T = 100 on hard labels, a student at T = 100 on the teacher's soft ones."""

    def hot(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(network(x) / TEMPERATURE, y)

    teacher = fit(_scaled(small_network()), hot, epochs=4)

    def distilled(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(network(x) / TEMPERATURE, (teacher(x) / TEMPERATURE).softmax(dim=1))

    return fit(_scaled(small_network()), distilled, epochs=4).state_dict()


def _scaled(network: nn.Sequential) -> nn.Sequential:
    """The last layer starts TEMPERATURE times larger, so that the softened logits start as usual."""
    last = network[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.mul_(TEMPERATURE)
    return network


def train_magnet() -> dict[str, Tensor]:
    """Reconstruction of the image from the image under noise."""

    def denoising(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return functional.mse_loss(network((x + 0.25 * torch.randn_like(x)).clamp(0, 1)), x)

    return fit(autoencoder(), denoising, epochs=3).state_dict()


def train_ape_gan() -> dict[str, Tensor]:
    """From FGSM's images, and from clean ones, back to the clean; a discriminator tells what was painted from what is clean."""
    attacked, threat = standard_network(), Linf(0.3)
    discriminator = nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(32 * 7 * 7, 1),
    )  # fmt: skip
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=RATE / 10)

    def restoration(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        painted = network(torch.cat([FGSM()(attacked, x, y, threat), x]))
        optimizer.zero_grad()
        real, fake = discriminator(x), discriminator(painted.detach())
        torch.autograd.backward(functional.softplus(-real).mean() + functional.softplus(fake).mean())
        optimizer.step()
        error = functional.mse_loss(painted, torch.cat([x, x]))
        loss: Tensor = error + ADVERSARIAL * functional.softplus(-discriminator(painted)).mean()
        return loss

    return fit(ape_generator(), restoration, epochs=3).state_dict()


def train_defense_gan() -> dict[str, Tensor]:
    """The decoder of an autoencoder whose latent is kept near the unit ball."""
    encoder = nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 7 * 7, LATENT),
    )  # fmt: skip
    decoder = generator()

    def reconstruction(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        latent = encoder(x)
        shaken = latent + 0.1 * torch.randn_like(latent)
        error = (decoder(shaken) - x).square().flatten(1).sum(dim=1).mean()
        loss: Tensor = error + 0.1 * latent.square().sum(dim=1).mean()
        return loss

    fit(nn.Sequential(encoder, decoder), reconstruction, epochs=5)
    return decoder.state_dict()


def train_pixel_defend() -> dict[str, Tensor]:
    """The level of each pixel from those before it, by cross-entropy."""

    def likelihood(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        levels = (x[:, 0] * (LEVELS - 1)).round().long()
        return functional.cross_entropy(network(before(x)).flatten(0, 2), levels.flatten())

    return fit(pixel_model(), likelihood, epochs=2).state_dict()


def measure_mean_sparse() -> dict[str, Tensor]:
    """Mean and deviation, per channel, of what enters each ReLU of the standard network."""
    a, found = load("mnist", "train").images[:5000].float() / 255, dict[str, Tensor]()
    for name, layer in standard_network().named_children():
        if isinstance(layer, nn.ReLU):
            others = [d for d in range(a.dim()) if d != 1]
            found[f"{name}.mean"] = a.mean(dim=others, keepdim=True)
            found[f"{name}.deviation"] = a.std(dim=others, keepdim=True)
        a = layer(a)
    return found


def tabulate_lookup() -> dict[str, Tensor]:
    """The first 1,000 test images at one bit per pixel, and their labels."""
    data = load("mnist", "test")
    bits = (data.images[:1000] >= 128).flatten(1).reshape(1000, -1, 8).to(torch.uint8)
    packed = (bits << torch.arange(8, dtype=torch.uint8)).sum(dim=2).to(torch.uint8)
    return {"bits": packed, "labels": data.labels[:1000].to(torch.uint8)}


FILES: dict[str, tuple[str, Callable[[], dict[str, Tensor]]]] = {
    "ape_gan": ("weights", train_ape_gan),
    "defense_gan": ("weights", train_defense_gan),
    "distillation": ("weights", train_distillation),
    "kwta": ("weights", train_kwta),
    "lookup": ("table", tabulate_lookup),
    "magnet": ("weights", train_magnet),
    "mean_sparse": ("statistics", measure_mean_sparse),
    "pixel_defend": ("weights", train_pixel_defend),
    "thermometer": ("weights", train_thermometer),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which entries (default: all): {', '.join(FILES)}")
    for name in parser.parse_args().names or FILES:
        torch.manual_seed(0)
        file, make = FILES[name]
        path = FOLDER / name / f"{file}.safetensors"
        save_file({key: tensor.contiguous() for key, tensor in make().items()}, path)
        print(f"{path.relative_to(FOLDER)}: {path.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    main()
