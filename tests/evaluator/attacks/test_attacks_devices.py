"""Every white-box attack searches on a bfloat16 model, and on an accelerator; what counts is decided in float32."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.evaluator.attack_support import Case, images, net, white_box_cases

CASES = white_box_cases()
everywhere = pytest.mark.parametrize("case", CASES, ids=str)


class Bfloat16(nn.Module):
    """The network with weights and activations in bfloat16; answers stay in that type."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), *(plain(layer) for layer in list(network.children())[1:]))
        self.network.to(torch.bfloat16).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x.to(torch.bfloat16))
        return logits


class Autocast(nn.Module):
    """The float32 network under autocast: its matrix products are in bfloat16."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), *(plain(layer) for layer in list(network.children())[1:]))

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits: Tensor = self.network(x)
        return logits


def plain(layer: nn.Module) -> nn.Module:
    """torch's own layer with the same weights: the row-wise one computes in float64 whatever it is told."""
    if not isinstance(layer, nn.Linear):
        return copy.deepcopy(layer)
    copied = nn.Linear(layer.in_features, layer.out_features)
    copied.load_state_dict(layer.state_dict())
    return copied.requires_grad_(False)


@pytest.mark.parametrize("rounded", [Bfloat16, Autocast], ids=["weights", "autocast"])
@everywhere
def test_what_a_bfloat16_search_finds_is_float32_and_breaks_the_float32_model(case: Case, rounded: type[nn.Module]) -> None:
    network, x = net(), images(8)
    y = network(x).argmax(dim=1)
    searched = rounded(network)
    assert searched(x).dtype == torch.bfloat16
    points = case.on(network)(searched, x, y, case.threat)
    assert points.dtype == torch.float32
    assert bool(torch.isfinite(points).all())
    if case.entry.minimal_norm:
        assert bool(((points >= 0) & (points <= 1)).all())
    else:
        assert bool(case.threat.contains(x, points, slack=0).all())
    rendered = case.threat.apply(x, points)
    fell = searched(rendered).argmax(dim=1) != y
    holds = network(rendered).argmax(dim=1) != y
    if case.entry.minimal_norm:  # its points lie on the boundary, which bfloat16 sees within 1 % of the logits
        top = network(rendered).topk(2, dim=1).values
        holds |= top[:, 0] - top[:, 1] <= 0.05 * top[:, 0].abs().clamp_min(1)
    assert int((fell & ~holds).sum()) <= 1, "almost all that falls in bfloat16 falls in float32"
    whole = case.on(network)(network, x, y, case.threat)
    breaks = int((network(case.threat.apply(x, whole)).argmax(dim=1) != y).sum())
    assert int(fell.sum()) >= breaks - 2, "rounding costs the search little"


if torch.cuda.is_available():  # elsewhere there is nothing to collect

    @everywhere
    def test_on_the_accelerator_it_breaks_what_it_breaks_on_the_cpu(case: Case) -> None:
        network, x = net(), images(8)
        y = network(x).argmax(dim=1)
        there, on_device = copy.deepcopy(network).cuda(), x.cuda()
        points = case.on(there)(there, on_device, y.cuda(), case.threat)
        assert points.device.type == "cuda"
        assert case.entry.minimal_norm or bool(case.threat.contains(on_device, points, slack=0).all())
        fell = there(case.threat.apply(on_device, points)).argmax(dim=1).cpu() != y
        here = network(case.threat.apply(x, case.on(network)(network, x, y, case.threat))).argmax(dim=1) != y
        assert abs(int(fell.sum()) - int(here.sum())) <= 1
