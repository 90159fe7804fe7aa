"""Gradients lost to float32: logits rescaled before the loss, the model differentiated in float64, and when both are tried."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evaluator.adaptive.automatic import Automatic
from evaluator.adaptive.rescaled import SPREAD, rescaled, vanishing
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import look
from evaluator.attacks.losses import cross_entropy, margin
from evaluator.draws import Draws
from evaluator.host.backward import Backwards
from evaluator.models.meter import Meter, MeteredModel
from evaluator.threats import Linf

COUNT = 8
THREAT = Linf(0.1)


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 4)).requires_grad_(False).eval()


class Scaled(nn.Module):
    """The network's logits times a number."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.network, self.scale = network(), scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.network(x)  # type: ignore[no-any-return]


def batch() -> Batch:
    x = torch.rand(COUNT, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return Batch(x, network()(x).argmax(dim=1), Draws(0, torch.arange(COUNT)))


def slopes(model: Model, loss: str) -> Tensor:
    asked = batch()
    return look(model, asked, THREAT, asked.x, {"ce": cross_entropy, "margin": margin}[loss], stop=False).gradient


@pytest.mark.parametrize("scale", [1e6, 1e-30])
def test_rescaled_logits_give_cross_entropy_the_gradient_that_their_size_took(scale: float) -> None:
    expected = slopes(rescaled(network()), "ce").flatten(1)
    found = slopes(rescaled(Scaled(scale)), "ce").flatten(1)
    assert bool((torch.nn.functional.cosine_similarity(found, expected) > 0.999).all())
    assert torch.equal(rescaled(Scaled(scale))(batch().x).argmax(dim=1), network()(batch().x).argmax(dim=1))


def test_rescaled_logits_are_spread_by_a_fixed_amount_and_equal_ones_stay() -> None:
    logits = rescaled(Scaled(1e6))(batch().x)
    assert torch.allclose(logits.amax(dim=1) - logits.amin(dim=1), torch.full((COUNT,), SPREAD))
    assert torch.equal(rescaled(lambda x: torch.ones(len(x), 4))(batch().x), torch.ones(COUNT, 4))


def test_a_saturated_cross_entropy_and_constant_logits_are_seen_to_vanish_and_a_plain_network_is_not() -> None:
    asked = batch()
    assert not bool(vanishing(network(), asked).any())
    assert bool(vanishing(Scaled(1e6), asked).any())
    assert bool(vanishing(lambda x: torch.ones(len(x), 4), asked).all())


class _Times(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
        return cotangent * ctx.factor, None


def times(x: Tensor, factor: float) -> Tensor:
    answer: Tensor = _Times.apply(x, factor)  # type: ignore[no-untyped-call]
    return answer


class Vanished(nn.Module):
    """The network, whose gradient is multiplied by 10^-60 on its way in, which float32 rounds to 0, and by 10^60 after that."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def forward(self, x: Tensor) -> Tensor:
        return times(times(self.network(times(times(x, 1e30), 1e30)), 1e-30), 1e-30)


def test_a_pass_in_float64_finds_the_gradient_that_float32_lost_and_answers_the_models_own_bits() -> None:
    model, x = Vanished(), batch().x
    leaf = x.clone().requires_grad_(True)
    (own,) = torch.autograd.grad(model(leaf).sum(), leaf)
    with Backwards(model, {}).use("float64"):
        logits = model(leaf)
        (double,) = torch.autograd.grad(logits[:, 0].sum(), leaf)
    (expected,) = torch.autograd.grad(network()(leaf)[:, 0].sum(), leaf)
    assert not bool(own.any())
    assert torch.equal(logits, model(x))
    assert torch.allclose(double, expected, rtol=1e-3, atol=1e-6)
    assert next(model.parameters()).dtype == torch.float32
    assert not model._forward_hooks


class Insisting(Scaled):
    """Computes in float32 only."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.linear(x.flatten(1), torch.ones(4, 64))


def test_code_that_insists_on_float32_keeps_its_own_gradient() -> None:
    model, leaf = Insisting(1.0), batch().x.clone().requires_grad_(True)
    with Backwards(model, {}).use("float64"):
        (found,) = torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)
    assert torch.equal(found, torch.ones_like(leaf))


@pytest.mark.parametrize("temperature", [1e3, 1e5])
def test_a_softmax_saturated_inside_the_model_passes_the_gradient_of_its_logarithm_straight_through(temperature: float) -> None:
    class Softmax(Scaled):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).softmax(dim=1)

    model, leaf = Softmax(temperature), batch().x.clone().requires_grad_(True)
    with Backwards(model, {}).use("straight-through"):
        answers = model(leaf)
        (found,) = torch.autograd.grad((answers[:, 0] - answers[:, 1]).sum(), leaf)
    logits = network()(leaf)
    (expected,) = torch.autograd.grad((logits[:, 0] - logits[:, 1]).sum(), leaf)
    assert torch.equal(answers.detach(), model(batch().x))
    assert torch.allclose(found, temperature * expected, rtol=1e-3, atol=1e-3 * temperature)


class Local:
    """A model in this process with the backward passes that a host serves."""

    def __init__(self, model: nn.Module, backward: str = "own") -> None:
        self.model, self.backward, self.backwards = model, backward, Backwards(model, {})

    def with_backward(self, name: str) -> Local:
        return Local(self.model, name)

    def __call__(self, x: Tensor) -> Tensor:
        with self.backwards.use(self.backward):
            answers: Tensor = self.model(x)
        return answers


def test_rescaling_and_float64_are_tried_where_gradients_vanish_and_only_there() -> None:
    def ways(model: nn.Module) -> list[str]:
        asked = MeteredModel(Local(model), Meter(), classes=4)
        return [name for name, _, _ in Automatic(steps=1)._ways(asked, batch(), THREAT)]

    lost = {"rescaled logits, cross-entropy", "float64 backward, margin", "float64 backward, rescaled cross-entropy"}
    last = ["transfer from a substitute", "random search", "decisions alone"]
    assert lost <= set(ways(Vanished()))
    assert not lost & set(ways(network()))
    for model in (Vanished(), network()):
        assert ways(model)[-3:] == last


def test_a_network_without_a_gradient_in_float32_falls_to_its_gradient_in_float64() -> None:
    model, asked = Vanished(), batch()
    seen = Local(model, "float64")
    found = Automatic(steps=30).run(MeteredModel(Local(model), Meter(), classes=4), asked, THREAT)
    assert bool((slopes(seen, "margin") != 0).flatten(1).any(dim=1).all())
    assert any(name.startswith("float64 backward") for name in found.by)
    plain = Automatic(steps=30).run(MeteredModel(Local(network()), Meter(), classes=4), asked, THREAT)
    assert int(found.broken.sum()) >= int(plain.broken.sum()) > 0
