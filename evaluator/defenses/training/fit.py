"""The training loop: minibatches in a seeded order, a learning-rate schedule, a warm-up of the perturbation budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from evaluator.defenses.training.method import Method, Minibatch
from evaluator.draws import Draws

Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of the loop; shares are of the whole training.

    learning_rate: its peak. It rises linearly over the first `warmup`, stays, and falls linearly to 0 from `decay_from` on.
    budget_warmup: the perturbation budget rises linearly to its full size over this share. augment: applied to clean uint8
    images before they are perturbed.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: Literal["adam", "sgd"] = "adam"
    weight_decay: float = 0.0
    warmup: float = 0.1
    decay_from: float = 0.5
    budget_warmup: float = 0.0
    augment: Augment | None = None

    def rate(self, progress: float) -> float:
        """The learning rate at `progress` in [0, 1]."""
        rise = min(1.0, progress / self.warmup) if self.warmup else 1.0
        fall = min(1.0, (1 - progress) / (1 - self.decay_from)) if self.decay_from < 1 else 1.0
        return self.learning_rate * min(rise, fall)

    def strength(self, progress: float) -> float:
        """The share of the perturbation budget at `progress` in (0, 1]."""
        return min(1.0, progress / self.budget_warmup) if self.budget_warmup else 1.0


@dataclass(frozen=True)
class Step:
    """What one minibatch showed: its number of `total`, the loss, and the accuracy on the inputs trained on."""

    number: int
    total: int
    epoch: int
    loss: float
    accuracy: float


def fit(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    method: Method,
    settings: Settings,
    *,
    seed: int,
    on_step: Callable[[Step], None] = lambda step: None,
) -> None:
    """Trains `network` in place, on its own device.

    images: (n, C, H, W) uint8. labels: (n,) int64. seed: keys the order, the augmentation and every perturbation, so that
    the same seed on the same machine and threads gives the same weights. The last, smaller minibatch of an epoch is left out.
    """
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    optimizer = _optimizer(network, settings)
    per_epoch = len(images) // settings.batch_size
    total, number = settings.epochs * per_epoch, 0
    network.train()
    for epoch in range(settings.epochs):
        order = torch.randperm(len(images), generator=generator)
        for ids in order[: per_epoch * settings.batch_size].split(settings.batch_size):
            number += 1
            for group in optimizer.param_groups:
                group["lr"] = settings.rate((number - 0.5) / total)
            taken = images[ids] if settings.augment is None else settings.augment(images[ids], generator)
            x, y = taken.to(device, torch.float32) / 255, labels[ids].to(device)
            draws = Draws(seed, ids.to(device)).fork(number)
            loss = method.loss(network, Minibatch(x, y, draws, settings.strength(number / total)))
            optimizer.zero_grad()
            loss.value.backward()
            optimizer.step()
            accuracy = (loss.logits.argmax(dim=1) == y).float().mean()
            on_step(Step(number, total, epoch + 1, float(loss.value.detach()), float(accuracy)))
    network.eval()


def _optimizer(network: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    if settings.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    decay, rate = settings.weight_decay, settings.learning_rate
    return torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=decay)
