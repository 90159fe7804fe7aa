"""Calibration networks and images for tests: weights read from the shared data folder, architectures written out here."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from evaluator.data.tensors import examples
from evaluator.defenses.recipes import BASELINES
from evaluator.host.load import load_submission
from evaluator.manifests.spec import DataSpec
from tests.needs import CALIBRATION

ROOT = Path(__file__).resolve().parents[2]


class Normalized(nn.Module):
    """(x - mean) / std per channel, then `network`: the outside sees inputs in [0, 1]."""

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network((x - self.mean) / self.std)
        return logits


class TradesSmallCNN(nn.Module):
    """SmallCNN of TRADES (Zhang et al. 2019) for MNIST."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_extractor = nn.Sequential()
        for name, layer in (
            ("conv1", nn.Conv2d(1, 32, 3)), ("relu1", nn.ReLU()), ("conv2", nn.Conv2d(32, 32, 3)), ("relu2", nn.ReLU()),
            ("maxpool1", nn.MaxPool2d(2)), ("conv3", nn.Conv2d(32, 64, 3)), ("relu3", nn.ReLU()),
            ("conv4", nn.Conv2d(64, 64, 3)), ("relu4", nn.ReLU()), ("maxpool2", nn.MaxPool2d(2)),
        ):  # fmt: skip
            self.feature_extractor.add_module(name, layer)
        self.classifier = nn.Sequential()
        for name, layer in (
            ("fc1", nn.Linear(1024, 200)), ("relu1", nn.ReLU()), ("fc2", nn.Linear(200, 200)), ("relu2", nn.ReLU()),
            ("fc3", nn.Linear(200, 10)),
        ):  # fmt: skip
            self.classifier.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.feature_extractor(x).flatten(1))
        return logits


def shared_data() -> Path:
    """The folder with calibration weights: $REDOUBT_SHARED_DATA, else ../shared/data beside the repository.

    Where it is absent the test is skipped with the reason, except under CI=true, where it fails.
    """
    folder = Path(os.environ.get("REDOUBT_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "models").is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(CALIBRATION.reason)
        CALIBRATION.skip()
    return folder


def _frozen(network: nn.Module, weights: str) -> nn.Module:
    network.load_state_dict(load_file(shared_data() / "models" / f"{weights}.safetensors"))
    return network.eval().requires_grad_(False)


@functools.cache
def sdp_model(name: str) -> nn.Module:
    """A CNN-A of the SDP calibration set in [0, 1]: "mnist_cnn_a_adv", "cifar_cnn_a_adv" or "cifar_cnn_a_mix"."""
    channels, features = (1, 1568) if name.startswith("mnist") else (3, 2048)
    network = nn.Sequential(
        nn.Conv2d(channels, 16, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(features, 100), nn.ReLU(), nn.Linear(100, 10),
    )  # fmt: skip
    network = _frozen(network, f"sdp_{name}")
    if channels == 1:
        return network
    mean, std = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
    return Normalized(network, tuple(m / 255 for m in mean), tuple(s / 255 for s in std)).eval()


@functools.cache
def sdp_images(name: str) -> tuple[Tensor, Tensor]:
    """The 200 calibration images of "mnist" or "cifar": x (200, C, H, W) float32 in [0, 1] and labels (200,) int64."""
    with np.load(shared_data() / "models" / f"sdp_{name}_200.npz", allow_pickle=False) as stored:
        x, y = torch.from_numpy(stored["x"]), torch.from_numpy(stored["y"])
    return x.permute(0, 3, 1, 2).float().div(255).contiguous(), y.long()


@functools.cache
def trades_smallcnn() -> nn.Module:
    """The TRADES MNIST network (clean 99.48 %, Linf 0.3), input (n, 1, 28, 28) in [0, 1]."""
    return _frozen(TradesSmallCNN(), "trades_mnist_smallcnn")


@functools.cache
def shipped(name: str) -> nn.Module:
    """A baseline that ships with Redoubt, frozen: "mnist-standard", "mnist-pgd" ..., input (n, 1, 28, 28) in [0, 1]."""
    return load_submission(BASELINES / name).eval().requires_grad_(False)


@functools.cache
def mnist_test(count: int) -> tuple[Tensor, Tensor]:
    """The first `count` ranked MNIST test images: x (count, 1, 28, 28) float32 in [0, 1] and labels (count,) int64."""
    part = examples(DataSpec(dataset="mnist", examples=count))
    return part.x, part.y


def subjects(*names: str) -> pytest.MarkDecorator:
    """Parametrises `subject` over networks: those that ship with Redoubt always, those of the calibration set nightly."""
    marks = [pytest.mark.nightly, pytest.mark.timeout(900)]
    return pytest.mark.parametrize("subject", [name if "-" in name else pytest.param(name, marks=marks) for name in names])


def network_and_images(subject: str, count: int = 200) -> tuple[nn.Module, Tensor, Tensor]:
    """A network of `subjects`, and the first `count` of its images with their labels."""
    if "-" in subject:
        return shipped(subject), *mnist_test(count)
    x, y = sdp_images(subject.split("_")[0])
    return sdp_model(subject), x[:count], y[:count]
