"""What a submission calls its classes, and what it hangs on torch's, changes nothing about what is seen of its gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluator.host.backward import Backwards
from evaluator.host.inspection import Inspection, inspect
from evaluator.torch_layers import custom, submodules

X = torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))


class Lie(torch.autograd.Function):
    """The identity with a false gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:
        return torch.randn_like(cotangent)


def lie(x: Tensor) -> Tensor:
    lied: Tensor = Lie.apply(x)  # type: ignore[no-untyped-call]
    return lied


class Part(nn.Module):
    """A part that computes what it is given."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def behind(part: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), part, nn.Linear(36, 3)).requires_grad_(False).eval()


class ReLU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return lie(x)


ReLU.__module__, ReLU.__qualname__ = nn.ReLU.__module__, nn.ReLU.__qualname__


class Disguised(Part):
    @property
    def __class__(self) -> type:  # type: ignore[override]
        return nn.ReLU


class Unlisted(nn.Module):
    """Says that it has no parts."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def modules(self) -> Any:
        return iter(())

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.part(x)
        return answer


class Slippery(Tensor):
    """A tensor that loses its history on the first touch."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            loose = [each.as_subclass(Tensor).detach() if isinstance(each, Slippery) else each for each in args]
            return func(*loose, **(kwargs or {}))


def slips(x: Tensor) -> Tensor:
    slippery: Tensor = x.as_subclass(Slippery)
    return slippery * 2 + 0 * x


def replaced_forward() -> nn.Module:
    part = nn.ReLU()
    part.forward = lie  # type: ignore[assignment,method-assign]
    return part


def hooked() -> nn.Module:
    part = nn.ReLU()
    part.register_forward_hook(lambda part, inputs, output: output.detach() + 0 * inputs[0])
    return part


def without_gradient(x: Tensor) -> Tensor:
    with torch.no_grad():
        y = x * 2
    return y + 0 * x


def through_numpy(x: Tensor) -> Tensor:
    return torch.from_numpy(x.detach().numpy()) + 0 * x


@torch.jit.script
def scripted(x: Tensor) -> Tensor:
    return x.detach() * 2 + 0 * x


LIARS: dict[str, Callable[[], nn.Module]] = {
    "a class that calls itself torch's": ReLU,
    "a class that says it is torch's": lambda: Disguised(lie),
    "a module that says it has no parts": lambda: Unlisted(Part(lie)),
    "forward on the instance": replaced_forward,
    "a hook on torch's layer": hooked,
    "a tensor of its own class": lambda: Part(slips),
    "a function with a false gradient": lambda: Part(lie),
    "no_grad": lambda: Part(without_gradient),
    "data": lambda: Part(lambda x: x.data * 2 + 0 * x),
    "detach by its operator": lambda: Part(lambda x: torch.ops.aten.detach(x) * 2 + 0 * x),
    "detach by its base class": lambda: Part(lambda x: torch._C.TensorBase.detach(x) * 2 + 0 * x),
    "round by its operator": lambda: Part(lambda x: torch.ops.aten.round(x * 9) / 9),
    "through NumPy": lambda: Part(through_numpy),
    "in a script": lambda: Part(scripted),
}


def doubted(seen: Inspection) -> bool:
    return bool(seen.hard or seen.cut or seen.crooked)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", LIARS)
def test_a_gradient_that_is_cut_or_false_is_seen_whatever_it_is_called(name: str) -> None:
    assert doubted(inspect(behind(LIARS[name]()), X))


@pytest.mark.parametrize(
    ("owner", "name"), [(nn.ReLU, "forward"), (functional, "relu"), (nn.Module, "__call__")], ids=["class", "function", "call"]
)
def test_torch_s_own_layers_are_not_believed_once_they_are_replaced(
    owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, was = behind(nn.ReLU()), getattr(owner, name)

    def patched(*given: Any, **named: Any) -> Any:
        answer = was(*given, **named)
        return lie(answer) if owner is not nn.Module or type(given[0]) is nn.ReLU else answer

    assert custom(submodules(model)) == []
    monkeypatch.setattr(owner, name, patched)
    assert custom(submodules(model)) != []
    assert doubted(inspect(model, X))


class Kind(nn.ReLU):
    """An honest layer of the submission's own."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0.1 * x


HONEST: dict[str, Callable[[], nn.Module]] = {
    "torch's own": nn.ReLU,
    "a subclass": Kind,
    "a mask": lambda: Part(lambda x: (x - 0.5) * (x > 0.5).float()),
    "where": lambda: Part(lambda x: torch.where(x > 0.5, x - 0.5, 0.1 * (x - 0.5))),
    "a choice by index": lambda: Part(lambda x: x + 0.1 * x.gather(1, x.argmax(dim=1, keepdim=True))),
    "a norm": lambda: nn.LayerNorm(36),
    "noise": lambda: Part(lambda x: x + 0.1 * torch.randn_like(x)),
    "half precision": lambda: Part(lambda x: x.bfloat16().float()),
    "attention": lambda: Part(lambda x: functional.scaled_dot_product_attention(*([x[:, None]] * 3))[:, 0]),
    "a parametrized layer": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(36, 36)),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_part_is_seen_as_what_it_is(name: str) -> None:
    seen = inspect(behind(HONEST[name]()), X)
    assert not doubted(seen), seen


@pytest.mark.parametrize(
    "name", ["a class that calls itself torch's", "a class that says it is torch's", "forward on the instance"]
)
def test_a_backward_pass_straight_through_reaches_behind_a_name(name: str) -> None:
    model = behind(LIARS[name]())
    leaf = X.clone().requires_grad_(True)
    with Backwards(model, {}).use("straight-through"):
        (gradient,) = torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)
    torch.testing.assert_close(gradient[0].flatten(), model[2].weight[0])
