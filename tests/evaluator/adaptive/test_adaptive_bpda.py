"""BPDA: the forward pass stays the same bits, the backward pass is the substitute's, and hidden gradients come back."""

from __future__ import annotations

import runpy

import pytest
import torch
from torch import Tensor, nn

from evaluator.adaptive import BPDA, ThroughSurrogates, clamped_thermometer, identity, replaced, with_backward
from evaluator.attacks.pgd import PGD
from evaluator.defenses.reference.golden import FOLDER
from evaluator.errors import InputError
from evaluator.threats import Linf

LEVELS = 16


class Thermometer(nn.Module):
    """Level k = 1 .. LEVELS of a channel is 1 where the pixel exceeds k / LEVELS; built on integers, so no gradient passes."""

    def forward(self, x: Tensor) -> Tensor:
        reached = (x * LEVELS).ceil().long()
        levels = torch.arange(1, LEVELS + 1)
        return (reached.unsqueeze(2) > levels.reshape(1, 1, -1, 1, 1)).float().flatten(1, 2)


class Rounding(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x * 8).round() / 8


def stripes(count: int) -> tuple[Tensor, Tensor]:
    """Two classes of 8x8 images: noise, a little brighter in the left half or in the right."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(count) % 2
    x = 0.5 + 0.1 * torch.randn(count, 1, 8, 8, generator=generator)
    x[y == 0, :, :, :4] += 0.15
    x[y == 1, :, :, 4:] += 0.15
    return x.clamp(0, 1), y


def trained(first: nn.Module, channels: int) -> nn.Sequential:
    """first -> linear, trained with the true forward pass (the hidden layer needs no gradient for that)."""
    torch.manual_seed(0)
    model = nn.Sequential(first, nn.Flatten(), nn.Linear(channels * 64, 2))
    x, y = stripes(300)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval().requires_grad_(False)


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return float((model(x).argmax(dim=1) == y).float().mean())


def test_thermometer_encoding_stands_against_pgd_and_falls_under_bpda() -> None:
    model, threat = trained(Thermometer(), LEVELS), Linf(0.15)
    x, y = stripes(60)
    attack = PGD(steps=20, random_start=False)
    assert accuracy(model, attack(model, x, y, threat), y) > 0.95  # the graph is cut: naive PGD has nothing to follow
    with with_backward(model, {"0": clamped_thermometer(LEVELS)}) as adapted:
        points = attack(adapted, x, y, threat)
    assert accuracy(model, points, y) < 0.05


def test_rounding_with_its_zero_gradient_stands_against_pgd_and_falls_under_the_straight_through_substitute() -> None:
    model, threat = trained(Rounding(), 1), Linf(0.15)
    x, y = stripes(60)
    attack = PGD(steps=20, random_start=False)
    assert accuracy(model, attack(model, x, y, threat), y) > 0.9
    with with_backward(model, {"0": identity}) as adapted:
        points = attack(adapted, x, y, threat)
    assert accuracy(model, points, y) < 0.1


def test_the_forward_pass_is_the_same_bits() -> None:
    model = trained(Rounding(), 1)
    x, _ = stripes(20)
    plain = model(x)
    with with_backward(model, {"0": lambda z: z * 3}) as adapted:
        assert torch.equal(adapted(x.requires_grad_(True)), plain)


def test_the_gradient_is_the_substitutes() -> None:
    x = torch.tensor([[0.3, 0.7]], requires_grad=True)
    BPDA(torch.round, lambda z: z**2)(x).sum().backward()
    assert torch.allclose(x.grad, 2 * x.detach())  # type: ignore[arg-type]


def test_the_thermometers_substitute_rounds_up_to_the_encoding() -> None:
    x = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    x[0] = 0.0
    x[1] = 1.0
    assert torch.equal(clamped_thermometer(LEVELS)(x).ceil(), Thermometer()(x))


def test_at_ten_levels_the_code_of_0_66_has_six_ones_in_the_shipped_entry_and_its_stand_in() -> None:
    folder = FOLDER / "thermometer"
    entry = runpy.run_path(str(folder / "defense.py"))
    x = torch.tensor([0.66, 0.0, 0.1, 1.0]).reshape(4, 1, 1, 1)
    codes = entry["Thermometer"]()(x)[:, :, 0, 0]
    assert ["".join(str(int(bit)) for bit in code) for code in codes] == [
        "1111110000", "0000000000", "0000000000", "1111111110",
    ]  # fmt: skip
    substitute = runpy.run_path(str(folder / "bpda.py"))["substitutes"](nn.Identity())["0"]
    expected = torch.tensor([0.56, 0.46, 0.36, 0.26, 0.16, 0.06, 0, 0, 0, 0])
    torch.testing.assert_close(substitute(x)[0, :, 0, 0], expected)
    assert torch.equal(substitute(x).ceil(), entry["Thermometer"]()(x))


def test_the_layers_are_put_back_after_an_error() -> None:
    model = trained(Rounding(), 1)
    layers = list(model)

    def explode() -> None:
        with with_backward(model, {"0": identity}), replaced(model, {"2": identity}):
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        explode()
    assert all(now is before for now, before in zip(model, layers, strict=True))


def test_nested_modules_are_reached_by_their_dotted_name() -> None:
    model = nn.Sequential(nn.Sequential(Rounding(), nn.Flatten()), nn.Linear(64, 2))
    x, _ = stripes(3)
    x.requires_grad_(True)
    with with_backward(model, {"0.0": identity}):
        (gradient,) = torch.autograd.grad(model(x).sum(), x)
    assert bool((gradient != 0).any())
    assert isinstance(model.get_submodule("0.0"), Rounding)


def test_a_wrong_name_names_the_nearest_module() -> None:
    model = nn.Sequential()
    model.add_module("purifier", Rounding())
    with pytest.raises(InputError, match="purifier"), with_backward(model, {"purifer": identity}):
        pass


def test_a_module_and_its_part_cannot_both_be_replaced() -> None:
    model = nn.Sequential(nn.Sequential(Rounding()))
    with pytest.raises(InputError, match="inside another"), with_backward(model, {"0": identity, "0.0": identity}):
        pass


def test_a_substitute_of_another_shape_is_named() -> None:
    model = nn.Sequential()
    model.add_module("encode", Rounding())
    with with_backward(model, {"encode": lambda z: z.flatten(1)}), pytest.raises(InputError, match="encode"):
        model(torch.rand(2, 1, 4, 4, requires_grad=True))


def test_what_falls_only_on_the_surrogate_does_not_count() -> None:
    model, threat = trained(Rounding(), 1), Linf(0.15)
    x, y = stripes(40)
    liar = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).requires_grad_(False)  # knows nothing of the model
    attack = PGD(steps=10, random_start=False)
    alone = ThroughSurrogates(attack, (liar,))(model, x, y, threat)
    honest = BPDA(model[0], identity)
    both = ThroughSurrogates(attack, (liar, nn.Sequential(honest, *list(model)[1:])))(model, x, y, threat)
    assert accuracy(model, alone, y) > 0.8
    assert accuracy(model, both, y) < 0.1


def test_an_example_that_fell_is_not_attacked_through_the_next_surrogate() -> None:
    model, threat = trained(Rounding(), 1), Linf(0.3)
    x, y = stripes(20)
    rows: list[int] = []

    def second(z: Tensor) -> Tensor:
        rows.append(len(z))
        logits: Tensor = model(z)
        return logits

    honest = nn.Sequential(BPDA(model[0], identity), *list(model)[1:])
    ThroughSurrogates(PGD(steps=10, random_start=False), (honest, second))(model, x, y, threat)
    assert not rows
