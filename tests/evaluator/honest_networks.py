"""Networks of the honest entries, and how they are trained in about a second: on training images alone, with a fixed seed."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluator.data.tensors import load
from evaluator.defenses.training.fit import Settings, fit
from evaluator.defenses.training.method import Loss, Method, Minibatch

IMAGES = 2000  # that a network is trained on


@dataclass(frozen=True)
class CrossEntropy(Method):
    """Plain training."""

    def loss(self, network: nn.Module, batch: Minibatch) -> Loss:
        logits = network(batch.x)
        return Loss(functional.cross_entropy(logits, batch.y), logits)


@dataclass(frozen=True)
class Trades(Method):
    """CE(Z(x), y) + beta KL(p(x) || p(x')), x' maximising that divergence within Linf epsilon (Zhang et al. 2019)."""

    epsilon: float
    beta: float = 1.0
    steps: int = 4

    def loss(self, network: nn.Module, batch: Minibatch) -> Loss:
        clean = network(batch.x)
        target = clean.detach().softmax(dim=1)
        radius = self.epsilon * batch.strength
        moved = batch.x + 0.001 * batch.draws.normal(*batch.x.shape[1:])
        for _ in range(self.steps):
            leaf = moved.detach().requires_grad_(True)
            apart = functional.kl_div(network(leaf).log_softmax(dim=1), target, reduction="sum")
            (slope,) = torch.autograd.grad(apart, leaf)
            moved = leaf.detach() + radius / 2 * slope.sign()
            moved = torch.minimum(torch.maximum(moved, batch.x - radius), batch.x + radius).clamp(0, 1)
        apart = functional.kl_div(network(moved).log_softmax(dim=1), clean.softmax(dim=1), reduction="batchmean")
        return Loss(functional.cross_entropy(clean, batch.y) + self.beta * apart, clean)


@functools.cache
def training_images() -> tuple[Tensor, Tensor]:
    """(IMAGES, 1, 28, 28) uint8 and (IMAGES,) int64."""
    data = load("mnist", "train")
    return data.images[:IMAGES], data.labels[:IMAGES]


def trained(network: nn.Module, method: Method | None = None, *, epochs: int = 4, rate: float = 5e-3) -> nn.Module:
    """`network`, trained, frozen, in eval mode."""
    images, labels = training_images()
    settings = Settings(epochs=epochs, batch_size=50, learning_rate=rate, budget_warmup=0.5)
    fit(network, images, labels, method or CrossEntropy(), settings, seed=0)
    return network.eval().requires_grad_(False)


def convolutions(
    activation: Callable[[], nn.Module] = nn.ReLU,
    *,
    after: Callable[[int], nn.Module] = lambda channels: nn.Identity(),
    head: nn.Module | None = None,
) -> nn.Sequential:
    """Two convolutions of stride two and a linear layer; after: what follows each convolution; head: what precedes the last."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 8, 4, stride=2, padding=1), after(8), activation(),
        nn.Conv2d(8, 16, 4, stride=2, padding=1), after(16), activation(),
        nn.Flatten(), head or nn.Identity(), nn.Linear(16 * 49, 10),
    )  # fmt: skip


def max_pooled() -> nn.Sequential:
    """Convolutions with maxima between them."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 49, 10),
    )  # fmt: skip


def perceptron(*, layers: int = 2, width: int = 64) -> nn.Sequential:
    """Linear layers and ReLU; none at all is logistic regression."""
    torch.manual_seed(1)
    sizes = [784, *[width] * layers]
    hidden = [part for one, two in itertools.pairwise(sizes) for part in (nn.Linear(one, two), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(sizes[-1], 10))


class Residual(nn.Module):
    """A convolution and two residual ones."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first = nn.Conv2d(1, 8, 4, stride=2, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))
        self.last = nn.Linear(8 * 49, 10)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.first(x)
        for block in self.blocks:
            seen = seen + block(seen.relu())
        logits: Tensor = self.last(functional.avg_pool2d(seen.relu(), 2).flatten(1))
        return logits


class Transformer(nn.Module):
    """A small vision transformer: 16 patches of 7 x 7, two layers, two heads."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.patches = nn.Conv2d(1, width, 7, stride=7)
        self.places = nn.Parameter(0.1 * torch.randn(1, 16, width))
        layer = nn.TransformerEncoderLayer(
            width, 2, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.last = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.places
        logits: Tensor = self.last(self.layers(tokens).mean(dim=1))
        return logits


class Neighbors(nn.Module):
    """1-NN on training images: minus the squared distance to the nearest one of each class."""

    def __init__(self) -> None:
        super().__init__()
        images, labels = training_images()
        self.known, self.labels = images[:1000].float().flatten(1) / 255, labels[:1000]

    def forward(self, x: Tensor) -> Tensor:
        apart = _squares(x, self.known)
        return torch.stack([-apart[:, self.labels == label].amin(dim=1) for label in range(10)], dim=1)


class Kernels(nn.Module):
    """A kernel machine: ridge regression on k(x, training image). kernel: "gaussian" (RBF) or "cubic"."""

    def __init__(self, kernel: str = "gaussian") -> None:
        super().__init__()
        images, labels = training_images()
        self.kernel, self.known = kernel, images[:1000].float().flatten(1) / 255
        between = self._between(self.known).double()
        target = 2 * functional.one_hot(labels[:1000], 10).double() - 1
        self.weights = torch.linalg.solve(between + 1e-2 * torch.eye(len(between)), target).float()

    def forward(self, x: Tensor) -> Tensor:
        return self._between(x) @ self.weights

    def _between(self, x: Tensor) -> Tensor:
        if self.kernel == "gaussian":
            return (-_squares(x, self.known) / 50).exp()
        return (1 + x.flatten(1) @ self.known.T / 100) ** 3


def _squares(x: Tensor, known: Tensor) -> Tensor:
    flat = x.flatten(1)
    return flat.square().sum(dim=1, keepdim=True) - 2 * flat @ known.T + known.square().sum(dim=1)


class Trees(nn.Module):
    """Oblivious trees: at each level one pixel against one threshold, for all nodes. x -> (n, trees, leaves), one-hot.

    soft: with a sigmoid in place of each threshold, the stand-in that a team would declare.
    """

    def __init__(self, trees: int = 80, depth: int = 6) -> None:
        super().__init__()
        dice = torch.Generator().manual_seed(2)
        bright = training_images()[0].float().flatten(1).std(dim=0) / 255
        self.pixels = torch.multinomial(bright.expand(trees, 784), depth, generator=dice)
        self.thresholds = 0.2 + 0.6 * torch.rand(trees, depth, generator=dice)

    def forward(self, x: Tensor) -> Tensor:
        return self._leaves((x.flatten(1)[:, self.pixels] > self.thresholds).float())

    def soft(self, x: Tensor) -> Tensor:
        return self._leaves((8 * (x.flatten(1)[:, self.pixels] - self.thresholds)).sigmoid())

    def _leaves(self, above: Tensor) -> Tensor:
        leaves = torch.ones(*above.shape[:2], 1)
        for level in range(above.shape[2]):
            side = torch.stack([1 - above[..., level], above[..., level]], dim=2)
            leaves = (leaves[..., None] * side[:, :, None]).flatten(2)
        return leaves


class Forest(nn.Module):
    """Trees that vote by the logarithm of the shares of classes in their leaves."""

    def __init__(self) -> None:
        super().__init__()
        images, labels = training_images()
        self.trees = Trees()
        counts = torch.einsum("ntl,nc->tlc", self.trees(images.float() / 255), functional.one_hot(labels, 10).float()) + 0.1
        self.leaves = (counts / counts.sum(dim=2, keepdim=True)).log() / 4

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("ntl,tlc->nc", self.trees(x), self.leaves)
