"""An attack that asks its model for everything that torch can ask of a network, and says what it is answered.

It is played in a thread of the test and, as the file of a submission, in a process of its own.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import torch
from torch import Tensor, fx, nn
from torch.autograd import forward_ad, functional
from torch.utils.checkpoint import checkpoint


class Doubled(nn.Module):
    """A network with the defense inside, as wrappers of attack libraries are."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.model(x)


def refusals(model: nn.Module, x: Tensor) -> dict[str, tuple[Callable[[], object], str]]:
    """What cannot be answered, and the words that have to be in the refusal."""
    v, one = torch.ones_like(x), x[:1]

    def loss(z: Tensor) -> Tensor:
        return model(z).logsumexp(1).sum()

    def gradient(z: Tensor, *, create: bool) -> Tensor:
        (found,) = torch.autograd.grad(loss(z), z, create_graph=create)
        return found

    def dual() -> Tensor:
        with forward_ad.dual_level():
            return model(forward_ad.make_dual(x, v))

    def batched() -> object:
        leaf = x.clone().requires_grad_()
        rows = torch.eye(3)[:, None].repeat(1, len(x), 1)
        return torch.autograd.grad(model(leaf), leaf, rows, is_grads_batched=True)

    def double_backward() -> None:
        gradient(x.clone().requires_grad_(), create=True).square().sum().backward()

    second, forward, function, jit = "first order only: the model answers", "in reverse mode", "torch.func", "torch.jit"
    return {
        "hvp": (lambda: functional.hvp(loss, x, v), second),
        "vhp": (lambda: functional.vhp(loss, x, v), second),
        "jvp": (lambda: functional.jvp(loss, x, v), second),
        "hessian": (lambda: functional.hessian(loss, one), second),
        "double backward": (double_backward, second),
        "forward_ad": (dual, forward),
        "jacobian, forward mode": (lambda: functional.jacobian(model, one, vectorize=True, strategy="forward-mode"), forward),
        "jacobian, vectorized": (lambda: functional.jacobian(model, one, vectorize=True), function),
        "batched gradients": (batched, function),
        "func.grad": (lambda: torch.func.grad(loss)(x), function),
        "func.jacrev": (lambda: torch.func.jacrev(model)(x), function),
        "func.jacfwd": (lambda: torch.func.jacfwd(model)(x), function),
        "func.jvp": (lambda: torch.func.jvp(model, (x,), (v,)), function),
        "func.vjp": (lambda: torch.func.vjp(model, x), function),
        "func.hessian": (lambda: torch.func.hessian(loss)(x), function),
        "vmap": (lambda: torch.vmap(lambda row: model(row[None])[0])(x), function),
        "trace": (lambda: torch.jit.trace(model, x), jit),
        "script": (lambda: torch.jit.script(model), jit),
        "trace of a wrapper": (lambda: torch.jit.trace(Doubled(model), x), jit),
        "script of a wrapper": (lambda: torch.jit.script(Doubled(model)), jit),
        "fx": (lambda: fx.symbolic_trace(model), "cannot be traced"),
        "pickle": (lambda: pickle.dumps(model), "cannot be pickled"),
    }


def answers(model: nn.Module, x: Tensor) -> dict[str, bool]:
    """What has to be answered rightly."""
    leaf, plain = x.clone().requires_grad_(), x.clone().requires_grad_()
    (recorded,) = torch.autograd.grad(model(leaf)[:, 0].sum(), leaf, create_graph=True)
    (expected,) = torch.autograd.grad(model(plain)[:, 0].sum(), plain)
    jacobian = functional.jacobian(model, x[:1])
    assert isinstance(jacobian, Tensor)
    again = x.clone().requires_grad_()
    checkpoint(model, again, use_reentrant=False)[:, 0].sum().backward()
    compiled, wrapped, through = torch.compile(model), torch.compile(Doubled(model)), x.clone().requires_grad_()
    compiled(through)[:, 0].sum().backward()
    parameters = dict(model.named_parameters())
    return {
        "create_graph alone": torch.equal(recorded, expected) and bool(expected.any()),
        "jacobian": torch.allclose(jacobian[0, 0, 0], expected[0]),
        "checkpoint": again.grad is not None and torch.equal(again.grad, expected),
        "compile": torch.equal(compiled(x), model(x)),
        "gradient of what is compiled": through.grad is not None and torch.equal(through.grad, expected),
        "compiled wrapper": torch.equal(wrapped(x), 2 * model(x)),
        "functional_call": torch.equal(torch.func.functional_call(model, parameters, (x,)), model(x)),
        "deepcopy": copy.deepcopy(model) is model and copy.deepcopy(Doubled(model)).model is model,
        "copy": copy.copy(model) is model,
        "parameters": [p.device.type for p in model.parameters()] == ["cpu"] and not any(p.any() for p in model.parameters()),
        "state_dict": set(model.state_dict()) == set(parameters),
        "device and mode": not model.to("cpu").train(False).training,
    }


def refusal(ask: Callable[[], object]) -> str:
    """What the question is refused with, or what it was answered."""
    try:
        return f"answered {ask()}"
    except (RuntimeError, TypeError) as error:
        return str(error)


def attack(model: nn.Module, x: Tensor, y: Tensor, threat: object, budget: object) -> Tensor:
    """Raises AssertionError naming what was answered otherwise."""
    for name, (ask, words) in refusals(model, x).items():
        said = refusal(ask)
        assert words in said, f"{name}: {said}"
        assert "\n" not in said, f"{name} is refused in several lines: {said}"
        assert ". " not in said, f"{name} is refused in more than one sentence: {said}"
    wrong = [name for name, right in answers(model, x).items() if not right]
    assert not wrong, f"answered wrongly: {wrong}"
    return x
