"""What a certificate may be believed about: exact layers without hooks, held against the network; finite logits only."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.utils import parametrize

from evaluator.certify import METHODS, certify, certify_at_radii
from evaluator.certify.branch_and_bound import branch_and_bound
from evaluator.certify.milp import milp_verify
from evaluator.certify.noise import build_noise
from evaluator.errors import InputError
from evaluator.judging.smoothed_classifier import SmoothedClassifier
from evaluator.manifests.certificate_specs import CertificateSpec
from evaluator.threats import L2, Linf

BOUNDS = ("ibp", "crown", "bab", "milp")
X, Y = torch.full((1, 1, 1, 1), 0.55), torch.tensor([0])


def falls(x: Tensor) -> Tensor:
    """Like ReLU up to 0.6, steeply down afterwards: the label changes 0.09 from X."""
    return torch.where(x > 0.6, 0.6 - 20 * (x - 0.6), x.clamp_min(0))


class Hat(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        return falls(x)


class Plain(nn.ReLU):
    """A subclass whose forward is followed: nothing in it is unknown."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x)


class Falling(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return -weight


def net(middle: nn.Module | None = None) -> nn.Sequential:
    """One number: class 0 where it is above 0.2."""
    first, last = nn.Linear(1, 1), nn.Linear(1, 2)
    with torch.no_grad():
        first.weight[:], first.bias[:] = 1.0, 0.0
        last.weight[:], last.bias[:] = torch.tensor([[1.0], [0.0]]), torch.tensor([0.0, 0.2])
    return nn.Sequential(nn.Flatten(), first, middle or nn.ReLU(), last).eval()


def hooked() -> nn.Module:
    model = net()
    model[2].register_forward_hook(lambda module, inputs, output: falls(output))
    return model


def hooked_before() -> nn.Module:
    model = net()
    model[3].register_forward_pre_hook(lambda module, inputs: (falls(inputs[0]),))
    return model


def hooked_at_its_root() -> nn.Module:
    model = net()
    model.register_forward_hook(lambda module, inputs, output: output.flip(1))
    return model


def replaced_in_a_layer() -> nn.Module:
    model = net()
    model[2].forward = falls  # type: ignore[method-assign]
    return model


def replaced_at_its_root() -> nn.Module:
    model = net()
    inside = model.forward
    model.forward = lambda x: inside(x).flip(1)  # type: ignore[method-assign]
    return model


class Called(nn.Sequential):
    def __call__(self, x: Tensor) -> Tensor:
        logits: Tensor = super().__call__(x)
        return logits.flip(1)


def parametrized() -> nn.Module:
    model = net()
    parametrize.register_parametrization(model[3], "weight", Falling())
    return model.eval()


class Weight(Tensor):
    """A tensor with a mind of its own."""


def special_weight() -> nn.Module:
    model = net()
    model[3].register_buffer("extra", torch.zeros(1).as_subclass(Weight))
    return model


class InPlace(nn.Module):
    """The value before the activation is changed by it: what is traced is not what runs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.last = nn.Linear(1, 2), nn.ReLU(inplace=True), nn.Linear(2, 2)
        with torch.no_grad():
            self.first.weight[:], self.first.bias[:] = torch.tensor([[1.0], [-1.0]]), 0.0
            self.last.weight[:], self.last.bias[:] = torch.tensor([[1.0, -1.0], [0.0, 0.0]]), 0.0

    def forward(self, x: Tensor) -> Tensor:
        before = self.first(x.flatten(1))
        self.relu(before)
        logits: Tensor = self.last(before)
        return logits


LIARS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a subclass of ReLU": (lambda: net(Hat()), r"2 \(Hat\)"),
    "a hook": (hooked, r'"2" \(ReLU\) has hooks'),
    "a hook before a layer": (hooked_before, r'"3" \(Linear\) has hooks'),
    "a hook at the root": (hooked_at_its_root, r'"the network" \(Sequential\) has hooks'),
    "a replaced forward": (replaced_in_a_layer, r'"2" \(ReLU\) has another forward'),
    "a replaced forward at the root": (replaced_at_its_root, r'"the network" \(Sequential\) has another forward'),
    "another call": (lambda: Called(*net()).eval(), r'"the network" \(Called\) has another __call__'),
    "a parametrization": (parametrized, r'"3" \(ParametrizedLinear\) computes its weights from others'),
    "a tensor subclass": (special_weight, r"holds extra as a Weight"),
    "a change in place": (lambda: InPlace().eval(), "something in it was not understood"),
}


@pytest.mark.parametrize("method", [*BOUNDS, "lipschitz"])
@pytest.mark.parametrize("liar", LIARS)
def test_what_a_certificate_cannot_read_is_refused_by_name(liar: str, method: str) -> None:
    build, named = LIARS[liar]
    with pytest.raises(InputError, match=named):
        certify(build(), X, Y, Linf(0.1), method=method)


@pytest.mark.parametrize("method", BOUNDS)
def test_a_hook_on_all_modules_is_refused(method: str) -> None:
    handle = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: None)
    try:
        with pytest.raises(InputError, match="for all modules"):
            certify(net(), X, Y, Linf(0.1), method=method)
    finally:
        handle.remove()


@pytest.mark.parametrize("method", BOUNDS)
def test_a_subclass_whose_forward_can_be_followed_is_certified(method: str) -> None:
    assert certify(net(Plain()), X, Y, Linf(0.1), method=method).certified.all()


def networks() -> Iterator[tuple[str, nn.Module]]:
    torch.manual_seed(1)
    yield "dense", nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    yield "linear", nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    yield (
        "convolutions",
        nn.Sequential(nn.Conv2d(1, 3, 3, stride=2), nn.ReLU(), nn.Conv2d(3, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)),
    )
    yield "pooled", nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 3))


NETWORKS = {name: network.eval() for name, network in networks()}


@pytest.mark.parametrize("method", BOUNDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_layer_without_an_unstable_neuron_is_certified_like_any_other(name: str, method: str) -> None:
    network, x = NETWORKS[name], torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    y = network(x).argmax(dim=1)
    assert certify(network, x, y, Linf(1e-4), method=method).certified.all()
    assert not certify(network, x, (y + 1) % 3, Linf(1e-4), method=method).certified.any()


class Undefined(nn.Module):
    """NaN, or infinity for one class, instead of every second row of logits; for all rows where asked."""

    def __init__(self, value: float, *, everywhere: bool = True) -> None:
        super().__init__()
        self.value, self.everywhere = value, everywhere

    def forward(self, x: Tensor) -> Tensor:
        logits = torch.tensor([5.0, 0.0, 0.0]).repeat(len(x), 1)
        bad = torch.full((len(x),), self.everywhere) | (x.flatten(1).sum(dim=1) > 0.5 * x[0].numel())
        return torch.where(bad[:, None] & (torch.arange(3) == 0), torch.tensor(self.value), logits)


SMOOTHING = [name for name, method in METHODS.items() if method.seeded]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("method", SMOOTHING)
def test_smoothing_certifies_nothing_about_logits_that_are_no_numbers(method: str, value: float) -> None:
    x, y = torch.full((2, 1, 4, 4), 0.5), torch.zeros(2, dtype=torch.int64)
    found = certify(Undefined(value).eval(), x, y, L2(0.1), method=method, seed=0, sigma=0.25, n=1000)
    assert not found.certified.any()
    assert not found.radius.any()


def test_half_of_the_answers_undefined_leave_half_of_the_votes() -> None:
    x, y = torch.full((2, 1, 4, 4), 0.5), torch.zeros(2, dtype=torch.int64)
    found = certify(
        Undefined(torch.nan, everywhere=False).eval(), x, y, L2(0.1), method="smoothing", seed=0, sigma=0.25, n=1000
    )
    assert not found.certified.any()


def test_an_undefined_answer_is_a_vote_for_no_class() -> None:
    smoothed = SmoothedClassifier(Undefined(torch.nan), build_noise("gaussian", 0.25), seed=0)
    counts = smoothed._counts(torch.full((1, 1, 4, 4), 0.5), torch.tensor([0]), range(1))
    assert counts.tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("method", [*BOUNDS, "lipschitz"])
def test_weights_that_are_no_numbers_are_refused_by_name(method: str) -> None:
    model = net()
    with torch.no_grad():
        model[3].bias[1] = torch.nan
    with pytest.raises(InputError, match=r'"3" \(Linear\) holds NaN or infinity in bias'):
        certify(model, X, Y, Linf(0.1), method=method)


@pytest.mark.parametrize("method", [*BOUNDS, "lipschitz"])
def test_bounds_certify_nothing_where_float32_overflows(method: str) -> None:
    """The layers in float64 give finite logits, the network itself answers infinity."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2)).eval()
    with torch.no_grad():
        model[1].weight[:], model[1].bias[:] = 1e20, 0.0
        model[3].weight[:], model[3].bias[:] = torch.tensor([[1e20], [0.0]]), 0.0
    assert not certify(model, X, Y, Linf(0.01), method=method).certified.any()
    request = CertificateSpec(method=method)  # type: ignore[arg-type]
    at_zero = certify_at_radii(model, X, Y, norm="linf", radii=(0.0, 0.01), request=request)
    assert not at_zero.certified.any()


class Leaping:
    """A clock that leaps so many seconds at every look."""

    def __init__(self, leap: float) -> None:
        self.now, self.leap = 0.0, leap

    def __call__(self) -> float:
        self.now += self.leap
        return self.now


def searched() -> tuple[nn.Module, Tensor, Tensor]:
    """A network and images that bounds alone leave open."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2)).eval()
    x = torch.rand(4, 3)
    return network.requires_grad_(False), x, network(x).argmax(dim=1)


def test_branch_and_bound_finds_the_same_on_a_machine_of_any_speed() -> None:
    network, x, y = searched()
    calm = branch_and_bound(network, x, y, epsilon=0.3, domains=40, batch=4)
    slow = branch_and_bound(network, x, y, epsilon=0.3, domains=40, batch=4, clock=Leaping(1000.0))
    assert slow.certified.tolist() == calm.certified.tolist()
    assert slow.details["domains"] == calm.details["domains"]
    assert max(calm.details["domains"]) > 0
    assert slow.details["out_of_time"] == []


def test_branch_and_bound_names_the_examples_that_a_limit_of_time_has_ended() -> None:
    network, x, y = searched()
    late = branch_and_bound(network, x, y, epsilon=0.3, batch=4, seconds=1.0, clock=Leaping(1000.0))
    named = late.details["out_of_time"]
    assert named
    assert bool(late.abstained[named].all())


def test_milp_finds_the_same_on_a_machine_of_any_speed_and_gives_up_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x, y = searched()
    calm = milp_verify(network, x, y, epsilon=0.3)
    monkeypatch.setattr("evaluator.certify.milp.time.perf_counter", Leaping(100.0))
    slow = milp_verify(network, x, y, epsilon=0.3)
    assert slow.certified.tolist() == calm.certified.tolist()
    assert slow.abstained.tolist() == calm.abstained.tolist()
    assert slow.details["out_of_time"] == []
    monkeypatch.setattr("evaluator.certify.milp.time.perf_counter", Leaping(86400.0))
    with pytest.raises(InputError, match="more than 1800 seconds"):
        milp_verify(network, x, y, epsilon=0.3)


@pytest.mark.parametrize("method", ["bab", "milp"])
def test_no_entry_can_ask_for_a_limit_of_time(method: str) -> None:
    with pytest.raises(ValidationError, match="seconds"):
        CertificateSpec.model_validate({"method": method, "seconds": 5.0})
