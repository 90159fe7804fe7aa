"""What every white-box attack promises, one table: shape, budget, randomness, cost, and what it leaves untouched."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import Tensor, nn

from evaluator.models.meter import Meter, MeteredModel
from tests.evaluator.attack_support import IMAGE, Case, Constant, Counting, images, net, white_box_cases

CASES = white_box_cases()
everywhere = pytest.mark.parametrize("case", CASES, ids=str)
# a universal perturbation is trained on the whole batch: one v for all, found row after row
per_example = pytest.mark.parametrize("case", [case for case in CASES if case.entry.name != "universal"], ids=str)
minimal_norm = pytest.mark.parametrize("case", [case for case in CASES if case.entry.minimal_norm], ids=str)
iterative = pytest.mark.parametrize("case", [case for case in CASES if case.entry.name != "fgsm"], ids=str)


class Wrong(nn.Module):
    """Answers class 1 everywhere, with a gradient: every input of class 0 is misclassified wherever it is moved."""

    def forward(self, x: Tensor) -> Tensor:
        slope = 0.001 * x.flatten(1).sum(dim=1, keepdim=True)
        return torch.tensor([0.0, 5.0, 1.0, 2.0]) + slope * torch.tensor([1.0, -1.0, 0.5, 0.0])


@everywhere
def test_it_returns_finite_float32_points_inside_the_threat_or_the_box(case: Case) -> None:
    network, x = net(), images(6)
    points = case.on(network)(network, x, network(x).argmax(dim=1), case.threat)
    assert points.shape == case.threat.start(x).shape
    assert points.dtype == torch.float32
    assert bool(torch.isfinite(points).all())
    assert not points.requires_grad
    if case.entry.minimal_norm:
        assert bool(((points >= 0) & (points <= 1)).all())
    else:
        assert bool(case.threat.contains(x, points, slack=0).all())


@minimal_norm
def test_a_minimal_norm_attack_returns_an_adversarial_point_or_the_clean_one(case: Case) -> None:
    network, x = net(), images(6)
    y = network(x).argmax(dim=1)
    points = case.on(network)(network, x, y, case.threat)
    unmoved = (points == x).flatten(1).all(dim=1)
    assert bool((unmoved | (network(points).argmax(dim=1) != y)).all())


@everywhere
def test_the_same_seed_gives_the_same_points(case: Case) -> None:
    network, x = net(), images(5)
    y = network(x).argmax(dim=1)
    first, again = (case.on(network)(network, x, y, case.threat, seed=7) for _ in range(2))
    assert torch.equal(first, again)


@per_example
def test_a_row_alone_ends_where_it_ends_in_a_batch(case: Case) -> None:
    network, x = net(), images(5)
    y = network(x).argmax(dim=1)
    together = case.on(network)(network, x, y, case.threat, seed=3)
    for row in range(len(x)):
        part = slice(row, row + 1)
        alone = case.on(network)(network, x[part], y[part], case.threat, seed=3, ids=torch.tensor([row]))
        torch.testing.assert_close(alone, together[part], rtol=0, atol=1e-5)


@everywhere
def test_an_empty_batch_gives_no_points_and_costs_nothing(case: Case) -> None:
    network = Counting(net())
    x = torch.zeros(0, *IMAGE)
    points = case.on(network.model)(network, x, torch.zeros(0, dtype=torch.long), case.threat)
    assert points.shape == case.threat.start(x).shape
    assert (network.forward_rows, network.backward_rows) == (0, 0)


@per_example
def test_misclassified_inputs_cost_no_more_than_the_first_look(case: Case) -> None:
    model = Counting(Wrong())
    network = net() if case.entry.name == "interval" else model.model
    case.on(network)(model, images(4), torch.zeros(4, dtype=torch.long), case.threat)
    rows_per_look = 4 * getattr(case.attack, "particles", 1)
    assert model.forward_rows == rows_per_look
    assert model.backward_rows == 0


@everywhere
@pytest.mark.parametrize("gradient", [True, False], ids=["zero-gradient", "no-gradient"])
def test_constant_logits_break_nothing_and_raise_nothing(case: Case, gradient: bool) -> None:
    model, x = Constant(gradient=gradient), images(3)
    points = case.on(net())(model, x, torch.zeros(3, dtype=torch.long), case.threat)
    assert bool(torch.isfinite(points).all())
    if case.entry.minimal_norm:
        assert torch.equal(points, x)
    else:
        assert bool(case.threat.contains(x, points, slack=0).all())


@everywhere
def test_inputs_labels_and_parameters_are_left_as_they_were(case: Case) -> None:
    network, x = net(), images(4)
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    y = network(x).argmax(dim=1)
    before, x_before, y_before = copy.deepcopy(network.state_dict()), x.clone(), y.clone()
    case.on(network)(network, x, y, case.threat)
    assert torch.equal(x, x_before)
    assert torch.equal(y, y_before)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@iterative
def test_it_finishes_earlier_where_examples_fall(case: Case) -> None:
    x, rows = images(6), []
    for extra in (0.0, 20.0):  # the second network answers class 0 within every budget, with the same gradients
        network = net()
        network[3].bias[0] += extra
        attack = case.on(network)
        if "stop_within" in case.entry.options:
            attack = dataclasses.replace(attack, stop_within=True)
        model = Counting(network)
        attack(model, x, network(x).argmax(dim=1), case.threat)
        rows.append(model.forward_rows + model.backward_rows)
    assert rows[0] < rows[1]


@everywhere
def test_the_meter_counts_the_rows_that_the_model_sees(case: Case) -> None:
    network = Counting(net())
    meter = Meter()
    metered = MeteredModel(network, meter, classes=4)
    x = images(5)
    y = network.model(x).argmax(dim=1)
    case.on(network.model)(metered, x, y, case.threat)
    assert (meter.forward_rows, meter.backward_rows) == (network.forward_rows, network.backward_rows)
    assert meter.forward_rows > 0
