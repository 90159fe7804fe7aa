"""Small models with known answers and a row counter that counts on its own, for the tests of white-box attacks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from evaluator.attacks.base import Attack
from evaluator.attacks.interval import IntervalAttack
from evaluator.attacks.registry import Entry, create, entries
from evaluator.threats import L0, L1, L2, Linf, Threat
from evaluator.threats.color import Color
from evaluator.threats.patch import Patch
from evaluator.threats.physical import Physical, Views
from evaluator.threats.spatial import Spatial
from evaluator.threats.sum import Sum

IMAGE = (3, 6, 6)


class RowWise(nn.Linear):
    """A linear layer whose rows are summed one by one, so that an input's output is the same bits in every batch."""

    def forward(self, x: Tensor) -> Tensor:
        products = x.double()[:, None, :] * self.weight.double()
        return (products.sum(dim=2) + self.bias.double()).float()


class Counting(nn.Module):
    """Counts forward rows by the length of its input, backward rows by the length of each cotangent of its output."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.forward_rows, self.backward_rows = model, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.forward_rows += len(x)
        logits: Tensor = self.model(x)
        if logits.requires_grad:
            logits = logits * 1.0
            logits.register_hook(self._count)
        return logits

    def _count(self, cotangent: Tensor) -> None:
        self.backward_rows += len(cotangent)


class Constant(nn.Module):
    """The same logits for every input, whatever it is; class 0 wins. `gradient` keeps x in the graph with slope zero."""

    def __init__(self, *, gradient: bool) -> None:
        super().__init__()
        self.gradient = gradient

    def forward(self, x: Tensor) -> Tensor:
        logits = torch.tensor([3.0, 2.0, 1.0, 0.0]).repeat(len(x), 1)
        return logits + 0 * x.flatten(1).sum(dim=1, keepdim=True) if self.gradient else logits


def net(seed: int = 0, *, classes: int = 4, scale: float = 4.0) -> nn.Sequential:
    """A ReLU network on images (n, 3, 6, 6) with random weights, deterministic for a seed."""
    generator = torch.Generator().manual_seed(seed)
    layers = nn.Sequential(nn.Flatten(), RowWise(108, 16), nn.ReLU(), RowWise(16, classes))
    with torch.no_grad():
        for layer in layers:
            if isinstance(layer, RowWise):
                spread = scale / layer.in_features**0.5
                layer.weight.copy_(spread * torch.randn(layer.weight.shape, generator=generator))
                layer.bias.copy_(0.1 * torch.randn(layer.bias.shape, generator=generator))
        layers[3].bias.sub_(layers(torch.full((1, *IMAGE), 0.5))[0])
    return layers.requires_grad_(False)


def images(count: int, seed: int = 0) -> Tensor:
    """(count, 3, 6, 6) in [0.2, 0.8]: away from the walls of the box."""
    generator = torch.Generator().manual_seed(seed + 100)
    return 0.2 + 0.6 * torch.rand(count, *IMAGE, generator=generator)


THREATS: dict[str, Threat] = {
    "linf": Linf(0.05),
    "l2": L2(0.4),
    "l1": L1(2.0),
    "l0": L0(12),
    "spatial": Spatial(0.5),
    "patch": Patch(2),
    "physical": Physical(Patch(3), Views(0, 0, 0, 0, 0, 0, 0, 0), samples=3),
    "color": Color(0.1, 0.1, nodes=3),
    "sum": Sum((Color(0.05, 0.1, nodes=3), Spatial(0.3), Linf(0.02))),
}
SMALL: dict[str, Any] = {"steps": 8, "restarts": 2, "rounds": 4, "searches": 3, "targets": 2, "particles": 2, "moves": 2}
# options whose small values are others: tuples, or steps that a small budget can take
OWN: dict[str, Any] = {
    "patch_places": {"steps": (2, 4, 8), "targets": 2},
    "pdpgd": {"steps": 24, "step_size": 0.005},
    "cw_l2": {"steps": 40},
    "universal": {"fooling_rate": 0.4},
}


@dataclass(frozen=True)
class Case:
    """One white-box attack under one threat, with options small enough for a table."""

    entry: Entry
    threat: Threat
    attack: Attack

    def __str__(self) -> str:
        return f"{self.entry.name}-{self.threat.kind}"

    def on(self, network: nn.Module) -> Attack:
        """The attack, told about the layers where it needs to see them."""
        return replace(self.attack, network=network) if isinstance(self.attack, IntervalAttack) else self.attack


def white_box_cases() -> list[Case]:
    """Every registered attack with access "gradients", under every threat it names ("*": Linf, L2 and L1)."""
    cases = []
    for entry in entries():
        if entry.access != "gradients":
            continue
        options = {name: value for name, value in SMALL.items() if name in entry.options}
        kinds = ("linf", "l2", "l1") if entry.threats == ("*",) else entry.threats
        for kind in kinds:
            more = {"steps": 24} if kind == "l0" and "steps" in options else {}
            more = OWN.get(entry.name, more)
            cases.append(Case(entry, THREATS[kind], create(entry.name, **{**options, **more})))
    return cases
