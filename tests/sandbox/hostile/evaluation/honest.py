"""What the hostile defenses share: the honest network behind them, and the means to tell attacks from clean images."""

from pathlib import Path

import torch
from torch import Tensor, nn

from evaluator.defenses.architectures import load_weights


def network(directory: Path) -> nn.Module:
    """The standard baseline."""
    return load_weights("mnist-cnn", Path(directory) / "weights.safetensors")


def from_a_file(x: Tensor) -> Tensor:
    """(n,) bool: all pixels are multiples of 1/255, as an image's from a file are and an attack's hardly ever."""
    levels = x.detach() * 255
    return (levels - levels.round()).abs().flatten(1).amax(dim=1) < 1e-3


class Hostile(nn.Module):
    """Knows the honest network and what it was asked before."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.net = network(directory)
        self.seen: list[tuple[Tensor, Tensor]] = []
        self.calls = 0

    def remembered(self, x: Tensor, radius: float) -> tuple[Tensor, Tensor]:
        """(n,) bool and (n, 10): which images are near one that was seen, and what was answered then."""
        answers = self.net(x)
        known = torch.zeros(len(x), dtype=torch.bool)
        if self.seen:
            images = torch.stack([image for image, _ in self.seen])
            distance, nearest = (x.detach()[:, None] - images[None]).abs().flatten(2).amax(dim=2).min(dim=1)
            known = distance < radius
            old = torch.stack([answer for _, answer in self.seen])[nearest]
            return known, torch.where(known[:, None], old, answers)
        return known, answers
