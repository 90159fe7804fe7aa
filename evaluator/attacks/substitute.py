"""Transfer from a substitute model trained on label queries (Papernot et al. 2017, "Practical Black-Box Attacks against
Machine Learning", algorithm 1: Jacobian-based data augmentation)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluator.adam import Adam
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.gradients import look
from evaluator.attacks.losses import margin
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least, positive
from evaluator.models.access import scores
from evaluator.threats.base import Threat

_MINIBATCH = 64
_LEARNING_RATE = 2e-3


@register("substitute", title="Substitute model", access="labels", threats=("linf", "l2"), paper="Papernot et al. 2017, alg. 1")
@dataclass(frozen=True)
class Substitute(Attack):
    """Labels the batch, trains a small net on it, grows the set along the net's Jacobian, and attacks the net by PGD.

    rounds: augmentations. Each asks the model for one label per image and doubles the set, so that an example costs
    2^rounds labels in all, plus one for each of the attempts. PGD runs on the substitute from different starts, ended by
    the first that the model itself falls for. augmentation: the length of the Jacobian step per pixel. epochs: per round.
    steps: of PGD, which never stops early: what only just crosses the substitute's boundary does not transfer.
    The batch is the training set: unlike other attacks, an example's result depends on its neighbours.
    """

    rounds: int = 4
    augmentation: float = 0.1
    epochs: int = 10
    steps: int = 40
    attempts: int = 2

    def __post_init__(self) -> None:
        at_least(0, rounds=self.rounds)
        at_least(1, epochs=self.epochs, steps=self.steps, attempts=self.attempts)
        positive(augmentation=self.augmentation)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        best = threat.start(batch.x)
        if not len(batch):
            return best
        substitute = self.train(model, batch)
        active = torch.arange(len(batch), device=batch.x.device)
        for attempt in range(self.attempts):
            part = batch[active].fork(attempt)
            points = self._ascend(substitute, part, threat)
            best[active] = points
            active = active[~part.success(scores(model, threat.apply(part.x, points)))]
            if not len(active):
                break
        return best

    def train(self, model: Model, batch: Batch) -> nn.Module:
        """The substitute: (n, *shape) -> (n, classes), trained on labels of `model` alone."""
        answers = scores(model, batch.x)
        images, labels = batch.x, answers.argmax(dim=1)
        generator = torch.Generator().manual_seed(int(batch.draws.fork("substitute")[:1].integers(2**31, 1)))
        substitute = _network(batch.x.shape[1:], answers.shape[1], generator).to(batch.x.device)
        optimizer = Adam(substitute.parameters(), _LEARNING_RATE)
        for number in range(self.rounds + 1):
            _fit(substitute, optimizer, images, labels, generator, epochs=self.epochs)
            if number == self.rounds:
                break
            new = (images + self.augmentation * (-1) ** number * _jacobian_sign(substitute, images, labels)).clamp(0, 1)
            labels = torch.cat([labels, scores(model, new).argmax(dim=1)])
            images = torch.cat([images, new])
        return substitute.eval().requires_grad_(False)

    def _ascend(self, substitute: nn.Module, batch: Batch, threat: Threat) -> Tensor:
        """PGD on the substitute's margin to the very end."""
        points, size = threat.random_start(batch.x, batch.draws), 2.5 * threat.epsilon / self.steps
        for _ in range(self.steps):
            gradient = look(substitute, batch, threat, points, margin, stop=False).gradient
            points = threat.project(batch.x, points + threat.steepest_step(gradient, size))
        return points


def _fit(network: nn.Module, optimizer: Adam, x: Tensor, y: Tensor, generator: torch.Generator, *, epochs: int) -> None:
    network.train()
    with torch.enable_grad():
        for _ in range(epochs):
            order = torch.randperm(len(x), generator=generator).to(x.device)
            for first in range(0, len(x), _MINIBATCH):
                some = order[first : first + _MINIBATCH]
                loss = functional.cross_entropy(network(x[some]), y[some])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()


def _jacobian_sign(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """sign of dZ_y / dx: along it the substitute's own answer changes most."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(network(leaf).gather(1, y[:, None]).sum(), leaf)
    return gradient.sign()


def _network(shape: torch.Size, classes: int, generator: torch.Generator) -> nn.Module:
    """Two strided convolutions and two layers for images of at least 8 x 8, else two hidden layers."""
    with torch.device("meta"):  # torch's own initialisation would draw from the global generator
        if len(shape) == 3 and min(shape[1:]) >= 8:
            tall, across = (math.ceil(math.ceil(side / 2) / 2) for side in shape[1:])
            network = nn.Sequential(
                nn.Conv2d(shape[0], 16, 5, stride=2, padding=2), nn.ReLU(),
                nn.Conv2d(16, 32, 5, stride=2, padding=2), nn.ReLU(), nn.Flatten(),
                nn.Linear(32 * tall * across, 100), nn.ReLU(), nn.Linear(100, classes),
            )  # fmt: skip
        else:
            network = nn.Sequential(
                nn.Flatten(), nn.Linear(math.prod(shape), 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, classes),
            )  # fmt: skip
    network = network.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                nn.init.kaiming_uniform_(parameter, nonlinearity="relu", generator=generator)
            else:
                nn.init.zeros_(parameter)
    return network
