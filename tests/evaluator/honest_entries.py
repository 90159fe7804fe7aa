"""The table of honest entries: what a team may well enter, and no check may bar from a rank.

Each is a builder of a model with what its manifest declares, and the images that it is judged on. Shipped baselines and their
relatives come first, then small networks that are trained here (`honest_networks`), then everything that is no network. The
same weights serve several entries.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import honest_networks as made
import torch
from torch import Tensor, nn

from evaluator.adaptive import identity
from evaluator.adaptive.bpda import Layer
from evaluator.data.tensors import Examples, examples
from evaluator.defenses.recipes import BASELINES
from evaluator.defenses.training.ibp_training import IBPTraining
from evaluator.host.backward import Backwards
from evaluator.host.load import frozen, load_submission
from evaluator.host.local import SameProcess
from evaluator.host.proxy import RemoteModel
from evaluator.host.serve import Host
from evaluator.judging.defense import Defense
from evaluator.manifests.spec import DataSpec
from evaluator.models.reading import ARGMAX, Reading, Votes, WithDetector
from evaluator.threats import L2, Linf, Threat

Stand = dict[str, Layer]


class Changed(nn.Module):
    """A network with something done before and after it."""

    def __init__(
        self,
        network: nn.Module,
        before: Callable[[Tensor], Tensor] = identity,
        after: Callable[[Tensor], Tensor] = identity,
    ) -> None:
        super().__init__()
        self.network, self._before, self._after = network, before, after

    def forward(self, x: Tensor) -> Tensor:
        return self._after(self.network(self._before(x)))


class Mean(nn.Module):
    """The mean answer of several networks; of: what is averaged, by default the logits."""

    def __init__(self, *networks: nn.Module, of: Callable[[Tensor], Tensor] = identity) -> None:
        super().__init__()
        self.networks, self._of = nn.ModuleList(networks), of

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self._of(network(x)) for network in self.networks]).mean(dim=0)


class Shifts(nn.Module):
    """Test-time augmentation: the mean answer to an image and to some of its shifts."""

    def __init__(self, network: nn.Module, shifts: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        self.network, self.shifts = network, shifts

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.network(x.roll(shift, dims=(2, 3))) for shift in self.shifts]).mean(dim=0)


class Quantize(nn.Module):
    """Rounds to `levels` gray levels."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, x: Tensor) -> Tensor:
        return (x * (self.levels - 1)).round() / (self.levels - 1)


class Noise(nn.Module):
    """Gaussian noise, drawn anew in every pass."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        return x + self.sigma * torch.randn_like(x)


class Smoothed(nn.Module):
    """Randomized smoothing as a Python entry: the mean probabilities of noisy copies, as logits."""

    def __init__(self, network: nn.Module, sigma: float, copies: int) -> None:
        super().__init__()
        self.network, self.sigma, self.copies = network, sigma, copies

    def forward(self, x: Tensor) -> Tensor:
        noisy = x.repeat(self.copies, 1, 1, 1)
        said = self.network(noisy + self.sigma * torch.randn_like(noisy)).softmax(dim=1)
        return said.reshape(self.copies, len(x), -1).mean(dim=0).clamp_min(1e-6).log()


class Doubting(nn.Module):
    """A declared detector: refuses where its network is not sure."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits = self.network(x)
        best = logits.topk(2, dim=1).values
        return torch.cat([logits, (1.0 - (best[:, 0] - best[:, 1]))[:, None]], dim=1)


LINF = Linf(0.2)


@dataclass(frozen=True)
class Entry:
    """build: the model; stand_ins: what its `bpda` declares; reading: how its answers are declared to be read.

    images: how many it is judged on in the default run, fewer where it is slow.
    """

    build: Callable[[], nn.Module]
    threat: Threat = LINF
    reading: Reading = ARGMAX
    stand_ins: Callable[[nn.Module], Stand] | None = None
    dataset: str = "mnist"
    images: int = 3

    @property
    def bpda(self) -> bool:
        return self.stand_ins is not None

    def examples(self, count: int) -> Examples:
        return examples(DataSpec(dataset=self.dataset, split="test", examples=count))

    def defense(self) -> Defense:
        """The entry as the host serves it, in this process."""
        model = frozen(self.build())
        backwards = Backwards(model, self.stand_ins(model) if self.stand_ins else {})
        return Defense(lambda: nullcontext(RemoteModel(SameProcess(Host(model, backwards)), classes=10)), self.reading)


@functools.cache
def shipped(name: str) -> nn.Module:
    """A baseline."""
    return load_submission(BASELINES / name)


@functools.cache
def plain() -> nn.Module:
    """The small network that most variants start from."""
    return made.trained(made.convolutions())


@functools.cache
def second() -> nn.Module:
    """Another one, for ensembles."""
    return made.trained(made.perceptron())


def in_type(kind: torch.dtype) -> nn.Module:
    """The standard baseline as it runs in a low precision."""
    network = load_submission(BASELINES / "mnist-standard").to(kind)
    return Changed(network, lambda x: x.to(kind), lambda logits: logits.float())


def in_eight_bits() -> nn.Module:
    """The small network with weights of eight bits."""
    network = made.trained(made.convolutions(), epochs=2)
    with torch.no_grad():
        for weight in network.parameters():
            unit = weight.abs().max() / 127
            weight.copy_((weight / unit).round() * unit)
    return network


FOUR = ((1, 0), (-1, 0), (0, 1), (0, -1))
ENTRIES: dict[str, Entry] = {
    "mnist-standard": Entry(lambda: shipped("mnist-standard"), Linf(0.3)),
    "mnist-standard, L2": Entry(lambda: shipped("mnist-standard"), L2(1.5)),
    "mnist-pgd": Entry(lambda: shipped("mnist-pgd"), Linf(0.3), images=1),
    "mnist-ibp": Entry(lambda: shipped("mnist-ibp"), Linf(0.3), images=1),
    "mnist-fgsm": Entry(lambda: shipped("mnist-fgsm"), Linf(0.3)),
    "mnist-pgd-l2": Entry(lambda: shipped("mnist-pgd-l2"), L2(2.0), images=1),
    "mnist-smooth": Entry(lambda: shipped("mnist-smooth"), L2(0.5), images=1),
    "mnist-denoised": Entry(lambda: shipped("mnist-denoised"), L2(0.5), images=1),
    "cifar10-standard": Entry(lambda: shipped("cifar10-standard"), Linf(8 / 255), dataset="cifar10", images=1),
    "cifar10-pgd": Entry(lambda: shipped("cifar10-pgd"), Linf(8 / 255), dataset="cifar10", images=1),
    "cifar10-smooth": Entry(lambda: shipped("cifar10-smooth"), L2(0.25), dataset="cifar10", images=1),
    "TRADES": Entry(lambda: made.trained(made.convolutions(), made.Trades(0.2), epochs=3), Linf(0.1), images=1),
    "IBP": Entry(lambda: made.trained(made.perceptron(), IBPTraining(0.1), rate=2e-3), Linf(0.1), images=1),
    "two convolutions": Entry(plain),
    "two convolutions, small epsilon": Entry(plain, Linf(0.02), images=1),
    "batch norm": Entry(lambda: made.trained(made.convolutions(after=nn.BatchNorm2d))),
    "group norm": Entry(lambda: made.trained(made.convolutions(after=lambda channels: nn.GroupNorm(2, channels)))),
    "GELU": Entry(lambda: made.trained(made.convolutions(nn.GELU))),
    "softplus": Entry(lambda: made.trained(made.convolutions(lambda: nn.Softplus(beta=10)))),
    "tanh": Entry(lambda: made.trained(made.convolutions(nn.Tanh))),
    "leaky ReLU": Entry(lambda: made.trained(made.convolutions(nn.LeakyReLU))),
    "max-pool": Entry(lambda: made.trained(made.max_pooled())),
    "dropout": Entry(lambda: made.trained(made.convolutions(head=nn.Dropout(0.3)))),
    "residual": Entry(lambda: made.trained(made.Residual())),
    "small ViT": Entry(lambda: made.trained(made.Transformer(), rate=2e-3)),
    "perceptron": Entry(second),
    "logistic regression": Entry(lambda: made.trained(made.perceptron(layers=0))),
    "tempered": Entry(lambda: Changed(plain(), after=lambda logits: logits / 20)),
    "probabilities": Entry(lambda: Changed(plain(), after=lambda logits: logits.softmax(dim=1))),
    "float64 inside": Entry(lambda: Changed(plain(), after=lambda logits: logits.double().log_softmax(dim=1).float())),
    "bfloat16": Entry(lambda: in_type(torch.bfloat16), Linf(0.3)),
    "float16": Entry(lambda: in_type(torch.float16), Linf(0.3)),
    "channels-last": Entry(
        lambda: Changed(made.trained(made.max_pooled()), lambda x: x.contiguous(memory_format=torch.channels_last))
    ),
    "weights of eight bits": Entry(in_eight_bits),
    "normalized": Entry(lambda: Changed(plain(), lambda x: ((x - 0.1307) / 0.3081) * 0.3081 + 0.1307)),
    "contrast": Entry(lambda: Changed(shipped("mnist-pgd"), lambda x: (1.8 * x).clamp(0, 1)), Linf(0.3), images=1),
    "gamma": Entry(lambda: Changed(shipped("mnist-pgd"), lambda x: (x + 0.01) ** 0.8), Linf(0.3), images=1),
    "ensemble of logits": Entry(lambda: Mean(plain(), second())),
    "ensemble of probabilities": Entry(lambda: Mean(plain(), second(), of=lambda logits: logits.softmax(dim=1))),
    "five shifts": Entry(lambda: Shifts(plain(), ((0, 0), *FOUR))),
    "1-NN": Entry(made.Neighbors, images=1),
    "RBF kernels": Entry(made.Kernels),
    "cubic kernels": Entry(lambda: made.Kernels("cubic")),
    "quantized input, declared": Entry(lambda: nn.Sequential(Quantize(8), plain()), stand_ins=lambda model: {"0": identity}),
    "trees, declared": Entry(made.Forest, Linf(0.1), images=1, stand_ins=lambda model: {"trees": model.trees.soft}),
    "noise, declared with votes": Entry(lambda: nn.Sequential(Noise(0.1), plain()), reading=Votes(16), images=1),
    "smoothing, declared with votes": Entry(lambda: Smoothed(plain(), 0.2, 4), Linf(0.25), Votes(4), images=1),
    "detector, declared": Entry(lambda: Doubting(plain()), reading=WithDetector()),
}
