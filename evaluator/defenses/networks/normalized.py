"""Input normalisation as a part of the network, so that everyone outside works in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NormalizedSequential(nn.Sequential):
    """An nn.Sequential applied to (x - mean) / std per channel.

    mean, std: one value per channel, in [0, 1] units. They are constants of the architecture, not weights: they are not in
    the state dict, whose keys are those of a plain nn.Sequential.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *layers: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__(*layers)
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = super().forward((x - self.mean) / self.std)  # type: ignore[no-untyped-call]
        return logits
