"""CNN-A (Dathathri et al. 2020, "Enabling certification of verification-agnostic networks via memory-efficient SDP")."""

from __future__ import annotations

from torch import nn

from evaluator.defenses.networks.normalized import NormalizedSequential

_CIFAR_MEAN = (125.3 / 255, 123.0 / 255, 113.9 / 255)
_CIFAR_STD = (63.0 / 255, 62.1 / 255, 66.7 / 255)


def mnist_cnn_a() -> nn.Module:
    """For (1, 28, 28): no normalisation; 166,406 weights."""
    return nn.Sequential(*_layers(channels=1, features=32 * 7 * 7))


def cifar_cnn_a() -> nn.Module:
    """For (3, 32, 32): each channel normalised by the training set's mean and standard deviation; 214,918 weights."""
    return NormalizedSequential(*_layers(channels=3, features=32 * 8 * 8), mean=_CIFAR_MEAN, std=_CIFAR_STD)


def _layers(*, channels: int, features: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(channels, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(features, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )
