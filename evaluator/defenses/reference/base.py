"""What several reference entries share: the shipped network they wrap, and small networks of their own."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from evaluator.defenses.architectures import load_weights

_BASELINES = Path(__file__).resolve().parents[1] / "baselines"


def standard_network() -> nn.Sequential:
    """The shipped MNIST network trained without any defense, frozen: (n, 1, 28, 28) in [0, 1] -> logits (n, 10)."""
    network = load_weights("mnist-cnn", _BASELINES / "mnist-standard" / "weights.safetensors")
    assert isinstance(network, nn.Sequential)
    return network.requires_grad_(False)


def cifar_network() -> nn.Module:
    """The shipped CIFAR-10 network trained without any defense, frozen: (n, 3, 32, 32) in [0, 1] -> logits (n, 10)."""
    return load_weights("cifar-resnet8", _BASELINES / "cifar10-standard" / "weights.safetensors").requires_grad_(False)


def small_network(channels: int = 1, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """An MNIST network of 60 k weights, the same for every entry that has to be trained."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 4, stride=2, padding=1), activation(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1), activation(), nn.Flatten(),
        nn.Linear(32 * 7 * 7, 32), activation(), nn.Linear(32, 10),
    )  # fmt: skip


def with_weights(network: nn.Module, path: Path) -> nn.Module:
    """`network` with the tensors of a safetensors file, frozen and in eval mode."""
    network.load_state_dict(load_file(path))
    return network.eval().requires_grad_(False)
