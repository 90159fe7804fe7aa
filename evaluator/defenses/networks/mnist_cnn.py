"""The small MNIST network of the shipped baselines: cheap enough to be trained and judged on one core."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def mnist_cnn() -> nn.Module:
    """Two convolutions of stride 2 (28 -> 14 -> 7 pixels) and two dense layers, ReLU; 348,086 weights."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(1, 32, 4, stride=2, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(32, 64, 4, stride=2, padding=1),
            relu2=nn.ReLU(),
            flatten=nn.Flatten(),
            dense1=nn.Linear(64 * 7 * 7, 100),
            relu3=nn.ReLU(),
            dense2=nn.Linear(100, 10),
        )
    )
