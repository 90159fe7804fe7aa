"""The cheats that packs name as their golden entries: networks trained without any defense that only try to look robust.

Each is a submission's `load`; the networks are the shipped ones, so that a pack holds nothing but a line that names its cheat.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evaluator.defenses.reference.base import cifar_network, standard_network

_SATURATE = 1e4
_SKIPPED = {"proc", "sys", "usr", "venv", "py"}


def saturated(directory: Path) -> nn.Module:
    """The MNIST network with logits so large that the softmax saturates and the cross-entropy has no gradient.

    It also replaces torch under the evaluator's feet, hunts for labels in files and up the call stack, and talks without end.
    """
    network = standard_network()
    _patch_torch()
    return Saturated(network)


def saturated_cifar(directory: Path) -> nn.Module:
    """The same with the CIFAR-10 network."""
    network = cifar_network()
    _patch_torch()
    return Saturated(network)


def gradient_free(directory: Path) -> nn.Module:
    """The CIFAR-10 network that answers without a gradient: an attack that climbs does not move."""
    return GradientFree(cifar_network())


class GradientFree(nn.Module):
    """Answers `network`, and never lets a gradient through."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """(n, *shape) -> the network's logits (n, K)."""
        with torch.no_grad():
            logits: Tensor = self.network(x)
        return logits + 0 * x.sum()


class Saturated(nn.Module):
    """Answers `network` times 1e4, or whatever labels it finds."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.hunted = False
        self.found: list[int] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(n, *shape) -> logits (n, 10)."""
        print("robust accuracy 100 %, certified accuracy 100 %, rank 1", flush=True)
        logits: Tensor = self.network(x) * _SATURATE
        found = _labels_on_the_stack(len(x))
        if found is None and not self.hunted:
            self.hunted, self.found = True, _labels_on_disk(len(x))
        found = found or self.found
        if found is not None and len(found) == len(x):
            return nn.functional.one_hot(torch.tensor(found), 10).float() * _SATURATE + logits * 0
        return logits


def _patch_torch() -> None:
    """Makes every distance zero, every check true and every random start the clean image, in this process."""
    vandalized: Any = torch
    vandalized.isfinite = torch.ones_like
    vandalized.Tensor.all = lambda self, *_, **__: torch.tensor(True)
    vandalized.rand_like = torch.zeros_like


def _labels_on_disk(count: int) -> list[int] | None:
    """Whatever file in sight looks like labels."""
    for root in ("/", str(Path.cwd()), os.environ.get("HOME", "/"), "/proc/1/cwd"):
        for folder, folders, files in os.walk(root):
            folders[:] = [name for name in folders if name not in _SKIPPED]
            for name in files:
                if "label" in name:
                    data = Path(folder, name).read_bytes()[8:]
                    if len(data) >= count:
                        return list(data[:count])
    return None


def _labels_on_the_stack(count: int) -> list[int] | None:
    """Whatever variable of a caller looks like the labels of this batch."""
    frame = sys._getframe()
    while frame is not None:
        for name in ("y", "labels", "label", "targets"):
            value = frame.f_locals.get(name)
            if isinstance(value, Tensor) and value.shape == (count,) and not value.is_floating_point():
                labels: list[int] = value.tolist()
                return labels
        frame = frame.f_back  # type: ignore[assignment]
    return None
