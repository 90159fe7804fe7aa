"""Every row is charged before it is computed, and every answer is checked, whoever the model is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from evaluator.errors import SubmissionError
from evaluator.models.meter import BudgetExhausted, Meter, MeteredModel
from evaluator.models.reservoir import Reservoir

X = torch.rand(5, 4)


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(4, 3).requires_grad_(False)


def test_it_counts_forward_rows_and_backward_rows_apart() -> None:
    model = MeteredModel(linear(), Meter(), classes=3)
    model(X)
    leaf = X.clone().requires_grad_(True)
    logits = model(leaf)
    torch.autograd.grad(logits.sum(), leaf, retain_graph=True)
    torch.autograd.grad(logits[:, 0].sum(), leaf)
    assert (model.meter.forward_rows, model.meter.backward_rows, model.meter.cost) == (10, 10, 30)


def test_the_gradient_is_the_models_own() -> None:
    module = linear()
    leaf = X.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(MeteredModel(module, Meter(), classes=3)(leaf)[:, 1].sum(), leaf)
    assert torch.equal(gradient, module.weight[1].expand(5, 4))


def test_a_call_beyond_the_budget_is_refused_before_it_is_computed() -> None:
    calls = []

    def module(x: Tensor) -> Tensor:
        calls.append(len(x))
        return x[:, :3]

    model = MeteredModel(module, Meter(budget=7), classes=3)
    model(X)
    with pytest.raises(BudgetExhausted):
        model(X)
    assert calls == [5]
    assert model.meter.forward_rows == 5


def test_a_backward_pass_beyond_the_budget_is_refused() -> None:
    model = MeteredModel(linear(), Meter(budget=14), classes=3)
    leaf = X.clone().requires_grad_(True)
    logits = model(leaf)
    with pytest.raises(BudgetExhausted):
        torch.autograd.grad(logits.sum(), leaf)
    assert model.meter.backward_rows == 0


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (lambda x: x[:, :2], "shape", r"\(5, 2\).*must be \(5, 3\)"),
        (lambda x: x[:4, :3], "shape", r"\(4, 3\)"),
        (lambda x: x[:, :3].double(), "dtype", "float64.*float32"),
        (lambda x: x[:, :3] / 0 * 0, "not-finite", "5 of 5"),
        (lambda x: x[:, :3] + torch.inf, "not-finite", "NaN or Inf"),
        (lambda x: [1], "shape", "list"),
    ],
)
def test_a_wrong_answer_is_a_typed_failure_with_a_sentence(answer: object, reason: str, words: str) -> None:
    with pytest.raises(SubmissionError, match=words) as failure:
        MeteredModel(answer, Meter(), classes=3)(X)  # type: ignore[arg-type]
    assert failure.value.reason == reason


def test_a_gradient_that_is_not_finite_is_a_typed_failure() -> None:
    leaf = torch.zeros(5, 4, requires_grad=True)
    logits = MeteredModel(lambda x: x[:, :3].sqrt(), Meter(), classes=3)(leaf)
    with pytest.raises(SubmissionError, match="gradient"):
        torch.autograd.grad(logits.sum(), leaf)


def test_a_model_that_cuts_the_graph_has_a_zero_gradient() -> None:
    leaf = X.clone().requires_grad_(True)
    logits = MeteredModel(lambda x: x.detach()[:, :3], Meter(), classes=3)(leaf)
    (gradient,) = torch.autograd.grad(logits.sum(), leaf)
    assert torch.equal(gradient, torch.zeros(5, 4))


@pytest.mark.parametrize(("shift", "where"), [(0.0, "inside"), (1.5, "outside")])
def test_an_answer_that_is_no_number_is_blamed_on_the_inputs_that_were_asked(shift: float, where: str) -> None:
    metered = MeteredModel(lambda x: x[:, :3] * torch.nan, Meter(), classes=3)
    with pytest.raises(SubmissionError, match=rf"NaN or Inf for 2 of 2 images {where} \[0, 1\]"):
        metered(torch.full((2, 4), 0.5) + shift)


def test_a_budget_may_be_spent_to_its_last_row() -> None:
    meter = Meter(budget=10)
    meter.charge(forward=4, backward=3)
    with pytest.raises(BudgetExhausted):
        meter.charge(forward=1)
    assert meter.cost == 10


def test_one_number_that_is_none_is_enough_and_its_image_is_named() -> None:
    x = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.5, 2.0]])
    answers = torch.zeros(3, 2)
    answers[1, 0] = torch.nan
    with pytest.raises(SubmissionError, match=r"for 1 of 3 images inside \[0, 1\]"):
        MeteredModel(lambda x: answers, Meter(), classes=2)(x)
    answers[2, 1] = torch.inf
    with pytest.raises(SubmissionError, match=r"for 1 of 3 images inside \[0, 1\]"):
        MeteredModel(lambda x: answers, Meter(), classes=2)(x)
    answers[1, 0] = 0.0
    with pytest.raises(SubmissionError, match=r"for 1 of 3 images outside \[0, 1\]"):
        MeteredModel(lambda x: answers, Meter(), classes=2)(x)


def test_the_reservoir_hears_every_answer_and_gradient_of_what_can_be_asked_again() -> None:
    reservoir, module = Reservoir(8, seed=0), linear()
    model = MeteredModel(module, Meter(), classes=3, reservoir=reservoir)
    model(X)
    assert [exchange.gradient is None for exchange in reservoir.exchanges()] == [True] * 7  # five, and two of the last pass
    leaf = X.clone().requires_grad_(True)
    torch.autograd.grad(model(leaf)[:, 1].sum(), leaf)
    with_gradient = [exchange for exchange in reservoir.exchanges() if exchange.gradient is not None]
    assert len(with_gradient) == 5
    assert all(torch.equal(exchange.gradient, module.weight[1]) for exchange in with_gradient)  # type: ignore[arg-type]
    before = len(reservoir.exchanges())
    model.through(lambda inner: lambda x: inner(x), repeatable=False)(X)
    assert len(reservoir.exchanges()) == before
    model.through(lambda inner: lambda x: inner(x))(X)
    assert len(reservoir.exchanges()) > before


def test_a_reservoir_that_keeps_nothing_of_a_pass_changes_nothing() -> None:
    model = MeteredModel(linear(), Meter(), classes=3, reservoir=Reservoir(0, seed=0))
    leaf = X.clone().requires_grad_(True)
    torch.autograd.grad(model(leaf).sum(), leaf)
    assert model.meter.backward_rows == 5
