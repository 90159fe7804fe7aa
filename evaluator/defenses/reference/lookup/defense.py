"""A defense that ships the test set: what lies near a test image gets that image's label."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from evaluator.defenses.reference.base import standard_network

RADIUS = 9.5  # L2 distance to an image stored as one bit per pixel: a perturbation of 0.3 in every pixel is 8.4


class LookUp(nn.Module):
    """Logits 10 for the stored label where a stored image is near (L2), else the network's."""

    def __init__(self, network: nn.Module, bits: Tensor, labels: Tensor) -> None:
        super().__init__()
        self.network = network
        shifts = torch.arange(8, dtype=torch.uint8)
        images = ((bits[:, :, None] >> shifts) & 1).flatten(1).float()
        self.images, self.labels = images, labels.long()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        distance, index = torch.cdist(x.detach().flatten(1), self.images).min(dim=1)
        known = functional.one_hot(self.labels[index], 10) * 10.0
        return torch.where((distance < RADIUS)[:, None], known, logits)


def load(directory: Path) -> nn.Module:
    """The standard network behind a table of the first 1,000 test images."""
    table = load_file(directory / "table.safetensors")
    return LookUp(standard_network(), table["bits"], table["labels"])
