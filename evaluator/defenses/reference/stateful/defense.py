"""A stateful defense: what lies near an earlier question gets that question's answer, so an attack sees a constant."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from evaluator.defenses.reference.base import standard_network

RADIUS = 0.31
MEMORY = 4000


class Remembering(nn.Module):
    """Keeps the first MEMORY questions that had no earlier neighbour within RADIUS (Linf), and their answers."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.questions, self.answers = torch.empty(0, 784), torch.empty(0, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        with torch.no_grad():
            flat = x.detach().flatten(1)
            nearest, known = self._nearest(flat)
            new = ~known & (len(self.questions) < MEMORY)
            answers = torch.where(known[:, None], nearest, logits.detach())
            self.questions = torch.cat([self.questions, flat[new]])
            self.answers = torch.cat([self.answers, logits.detach()[new]])
        return answers

    def _nearest(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        if not len(self.questions):
            return torch.zeros(len(flat), 10), torch.zeros(len(flat), dtype=torch.bool)
        distance, index = torch.cdist(flat, self.questions, p=float("inf")).min(dim=1)
        return self.answers[index], distance <= RADIUS


def load(directory: Path) -> nn.Module:
    """The standard network with a memory."""
    return Remembering(standard_network())
