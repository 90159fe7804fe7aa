"""The standard ensemble: verdicts belong to examples, degenerate outputs are no robustness, doubt brings the full search."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from evaluator.attacks.base import Batch
from evaluator.attacks.square import Square
from evaluator.draws import Draws
from evaluator.ensembles.base import Search, Step
from evaluator.ensembles.sequence import Stage
from evaluator.ensembles.standard import ROUNDS, Standard
from evaluator.models.meter import Meter, MeteredModel
from evaluator.threats import L2, Linf
from evaluator.threats.base import Threat
from tests.evaluator.support import mnist_test, shipped

EPSILON = 0.08  # breaks about half of the images
Found = tuple[Search, Meter]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return shipped("mnist-standard")


@pytest.fixture(scope="module")
def batch(network: nn.Module) -> Batch:
    """The correctly classified ones of 24 test images."""
    x, y = mnist_test(24)
    whole = Batch(x, y, Draws(0, torch.arange(len(x))))
    return whole[network(x).argmax(dim=1) == y]


def search(
    model: Callable[[Tensor], Tensor], batch: Batch, threat: Threat, ensemble: Standard | None = None, classes: int = 10
) -> tuple[Search, Meter]:
    meter = Meter()
    metered = MeteredModel(model, meter, classes=classes)
    return (ensemble or Standard()).run(metered, batch, threat, lambda step: None), meter


@pytest.fixture(scope="module")
def plain(network: nn.Module, batch: Batch) -> Found:
    """What the standard ensemble finds with everybody in play at once: most tests here compare another search with it."""
    return search(network, batch, Linf(EPSILON), Standard(width=250))


@pytest.mark.parametrize("threat", [Linf(EPSILON), L2(1.0)], ids=["linf", "l2"])
def test_what_is_found_does_not_depend_on_how_many_are_in_play(
    network: nn.Module, batch: Batch, plain: Found, threat: Threat
) -> None:
    wide = plain[0] if isinstance(threat, Linf) else search(network, batch, threat, Standard(width=250))[0]
    narrow, _ = search(network, batch, threat, Standard(width=7))
    assert 0 < int((wide.broken_by >= 0).sum()) < len(batch)
    assert torch.equal(wide.broken_by, narrow.broken_by)


def test_what_is_found_does_not_depend_on_the_order(network: nn.Module, batch: Batch, plain: Found) -> None:
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(1))
    shuffled, _ = search(network, batch[order], Linf(EPSILON))
    assert torch.equal(plain[0].broken_by[order], shuffled.broken_by)


def test_shards_merge_to_the_whole_and_cost_what_it_costs(network: nn.Module, batch: Batch, plain: Found) -> None:
    whole, spent = plain
    parts = [search(network, batch[rows], Linf(EPSILON)) for rows in torch.arange(len(batch)).split(9)]
    assert torch.equal(whole.broken_by, torch.cat([found.broken_by for found, _ in parts]))
    assert spent.forward_rows == sum(meter.forward_rows for _, meter in parts)
    assert spent.backward_rows == sum(meter.backward_rows for _, meter in parts)


def test_a_success_cancels_the_rest_of_its_example(network: nn.Module) -> None:
    x, y = mnist_test(16)
    wrong = (y + 1) % 10
    lost = Batch(x, wrong, Draws(0, torch.arange(len(x))))[network(x).argmax(dim=1) != wrong]
    found, meter = search(network, lost, Linf(EPSILON))
    assert int((found.broken_by == 0).sum()) == len(lost)
    assert meter.forward_rows <= 3 * len(lost)  # the outputs' kind, the clean look, the first step
    assert meter.backward_rows <= len(lost)


@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes_are_searched_with_the_margin_and_without_targets_they_have_not(classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    linear = nn.Linear(12, classes).requires_grad_(False)
    linear.weight.copy_(torch.randn(classes, 12, generator=generator))
    linear.bias.copy_(-linear.weight.sum(dim=1) / 2)
    model = nn.Sequential(nn.Flatten(), linear)
    x = torch.rand(40, 3, 2, 2, generator=generator)
    batch = Batch(x, model(x).argmax(dim=1), Draws(0, torch.arange(40)))
    epsilon = 0.05
    found, _ = search(model, batch, Linf(epsilon), classes=classes)
    logits, weight = model(x), linear.weight
    own = logits.gather(1, batch.y[:, None])
    gain = (weight[None] - weight[batch.y][:, None]).abs().sum(dim=2)  # of each class on the true one, per unit of epsilon
    reach = epsilon * gain
    exact = ((own - logits) < reach).scatter(1, batch.y[:, None], False).any(dim=1)
    clear = ((own - logits - reach).abs() > 1e-3).all(dim=1)
    assert 0 < int(exact.sum()) < 40
    assert torch.equal((found.broken_by >= 0)[clear], exact[clear])


class Scaled(nn.Module):
    """Logits so large that float32 softmax is one-hot and the gradient of the cross-entropy is zero."""

    def __init__(self, network: nn.Module, scale: float) -> None:
        super().__init__()
        self.network, self.scale = network, scale

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.scale * self.network(x)
        return logits


def test_a_large_scale_hides_nothing(network: nn.Module, batch: Batch, plain: Found) -> None:
    scaled, _ = search(Scaled(network, 1e4), batch, Linf(EPSILON))
    assert abs(int((scaled.broken_by >= 0).sum()) - int((plain[0].broken_by >= 0).sum())) <= 1


def test_a_saturated_softmax_is_read_through_its_logarithm(network: nn.Module, batch: Batch, plain: Found) -> None:
    soft, _ = search(nn.Sequential(network, nn.Softmax(dim=1)), batch, Linf(EPSILON))
    assert abs(int((soft.broken_by >= 0).sum()) - int((plain[0].broken_by >= 0).sum())) <= 1
    assert {flag.check: flag.severity for flag in soft.flags} == {"softmax-output": "info"}


def test_constant_answers_are_robust_only_where_they_are_right_and_cost_no_fallback() -> None:
    constant = nn.Sequential(nn.Flatten(), nn.Linear(12, 10)).requires_grad_(False)
    constant[1].weight.zero_()
    constant[1].bias.copy_(torch.arange(10.0))
    y = torch.tensor([9, 9, 3, 0])
    found, _ = search(constant, Batch(torch.rand(4, 3, 2, 2), y, Draws(0, torch.arange(4))), Linf(EPSILON))
    assert (found.broken_by < 0).tolist() == [True, True, False, False]


class Shattered(nn.Module):
    """The network behind an input rounded to 5 levels: no gradient at all, and no more robust for it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network((x * 4).round() / 4)
        return logits


def test_where_the_canary_dies_the_whole_block_is_searched_in_full_and_the_flag_says_why(network: nn.Module) -> None:
    x, y = mnist_test(48)
    model = Shattered(network)
    whole = Batch(x, y, Draws(0, torch.arange(len(x))))
    whole = whole[model(x).argmax(dim=1) == y]
    short = (Stage("full Square", Square(queries=50)),)
    found, _ = search(model, whole, Linf(0.3), Standard(rounds=ROUNDS[:2], boundary=False, fallback=short))
    tried = {record.name: record.tried for record in found.records}
    assert [flag.check for flag in found.flags] == ["black-box-beats-white-box"]
    assert tried["full Square"] > tried["Square canary"] > 0


def test_progress_never_goes_back(network: nn.Module, batch: Batch) -> None:
    steps: list[Step] = []
    metered = MeteredModel(network, Meter(), classes=10)
    Standard().run(metered, batch, Linf(EPSILON), steps.append)
    rounds = [step for step in steps if step.attack.startswith(("ODI", "APGD"))]
    assert rounds
    assert all(a.settled <= b.settled and a.survivors >= b.survivors for a, b in itertools.pairwise(rounds))


def test_a_zero_gradient_stays_where_it_is_at_any_epsilon() -> None:
    step = L2(60.0).steepest_step(torch.zeros(2, 3, 4, 4), 60.0)
    assert torch.equal(step, torch.zeros(2, 3, 4, 4))
