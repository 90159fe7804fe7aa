"""Each check fires on a model built to be caught by it, and says what it measured."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evaluator.attacks.base import Batch
from evaluator.checks import Finding, Subject, examine, registered
from evaluator.draws import Draws
from evaluator.meter import Meter, MeteredModel
from evaluator.threats import Linf

THREAT = Linf(0.15)
COUNT = 32
WORDS_ONLY = ("softmax-output", "dynamic-inference", "non-differentiable-operations")  # nothing there to count


def net() -> nn.Module:
    torch.manual_seed(3)
    layers = (nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))
    return nn.Sequential(*layers).requires_grad_(False)


def findings(model: nn.Module, *names: str, randomized: bool = False) -> dict[str, Finding]:
    """The named checks (all by default) on examples that the undisturbed network classifies correctly."""
    x = torch.rand(COUNT, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = Batch(x, net()(x).argmax(dim=1), Draws(0, torch.arange(COUNT)))
    wanted = [check for check in registered() if not names or check.name in names]
    found = examine(Subject(MeteredModel(model, Meter(), classes=4), batch, THREAT, randomized), wanted)
    return {finding.check: finding for finding in found}


class Wrapped(nn.Module):
    """A network with something done to its input or output."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.seen = net(), list[Tensor]()


class Noisy(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + 0.05 * torch.randn_like(x))  # type: ignore[no-any-return]


class Probabilities(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).softmax(dim=1)  # type: ignore[no-any-return]


class Remembering(Wrapped):
    """Answers what it has been asked before by something else."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x.detach())
        known = torch.tensor([any(torch.equal(row, old) for old in self.seen) for row in x], dtype=torch.bool)
        self.seen += list(x.detach().clone())
        return torch.where(known[:, None], logits.flip(1), logits)


class Drifting(Wrapped):
    """The mean of the last batch shifts the answers to the next one."""

    last = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        before, self.last = self.last, x.detach().flatten(1)[:, 0].mean()
        return self.net(x) + 0.1 * before * torch.arange(4.0)  # type: ignore[no-any-return]


class BatchCentred(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x - 0.1 * x.mean(dim=0, keepdim=True))  # type: ignore[no-any-return]


class Rounded(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.net((x * 4).round() / 4)  # type: ignore[no-any-return]


class _Lie(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient.flip(-1)


class Lying(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(_Lie.apply(x))  # type: ignore[no-any-return, no-untyped-call]


class Knowing(Wrapped):
    """Looks its input up among the images it was shipped with, and answers what it answered there."""

    def __init__(self) -> None:
        super().__init__()
        self.images = torch.rand(COUNT, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        distance = (x[:, None] - self.images[None]).abs().flatten(2).amax(dim=2)
        nearest = distance.argmin(dim=1)
        known = distance.gather(1, nearest[:, None]) < 0.2
        return torch.where(known, self.net(self.images[nearest]), self.net(x))


class Cautious(Wrapped):
    """Answers the same to everything that is not one of the images it knows: a rejection."""

    def __init__(self) -> None:
        super().__init__()
        self.images = torch.rand(COUNT, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        near = (x[:, None] - self.images[None]).abs().flatten(2).amax(dim=2).amin(dim=1) < 0.01
        return torch.where(near[:, None], self.net(x), torch.tensor([0.4, 0.3, 0.2, 0.2]) + 0 * self.net(x))


class Slow(Cautious):
    """Thinks longer about what it does not know."""

    def forward(self, x: Tensor) -> Tensor:
        near = (x[:, None] - self.images[None]).abs().flatten(2).amax(dim=2).amin(dim=1) < 0.01
        if not bool(near.all()):
            time.sleep(0.1)
        return self.net(x)  # type: ignore[no-any-return]


class Loud(Cautious):
    """Hundredfold logits for what it does not know."""

    def forward(self, x: Tensor) -> Tensor:
        near = (x[:, None] - self.images[None]).abs().flatten(2).amax(dim=2).amin(dim=1) < 0.01
        return torch.where(near[:, None], self.net(x), 100 * self.net(x))


class Listing(Knowing):
    """Looks up everything within reach and stands as well when the images move by a pixel."""

    def forward(self, x: Tensor) -> Tensor:
        distance = (x[:, None] - self.images[None]).flatten(2).norm(dim=2)
        nearest = distance.argmin(dim=1)
        known = distance.gather(1, nearest[:, None]) < 2.5
        return torch.where(known, self.net(self.images[nearest]), self.net(x))


class Descending(Wrapped):
    """Moves its input uphill before it classifies it."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(self.net(leaf).amax(dim=1).sum(), leaf)
        return self.net(x + 0.01 * slope)  # type: ignore[no-any-return]


class Leaving(Wrapped):
    """Classifies in NumPy."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(torch.from_numpy(x.detach().numpy().copy()))  # type: ignore[no-any-return]


class Fitting(Wrapped):
    """A custom Function whose backward is right."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(_Twice.apply(x))  # type: ignore[no-any-return, no-untyped-call]


class _Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient


@pytest.mark.parametrize(
    ("model", "check", "severity"),
    [
        (Noisy, "randomness", "unverified"),
        (Probabilities, "softmax-output", "info"),
        (Remembering, "state", "unverified"),
        (Drifting, "state", "unverified"),
        (BatchCentred, "batch-dependence", "unverified"),
        (Rounded, "zero-gradients", "unverified"),
        (Rounded, "large-epsilon", "unverified"),
        (Lying, "gradient-accuracy", "unverified"),
        (Lying, "single-step-beats-iterative", "unverified"),
        (Knowing, "memorized-inputs", "unverified"),
        (Listing, "memorized-inputs", "unverified"),
        (Rounded, "planted-examples", "unverified"),
        (Lying, "planted-examples", "unverified"),
        (Cautious, "traffic-anomalies", "unverified"),
        (Slow, "traffic-anomalies", "unverified"),
        (Loud, "traffic-anomalies", "unverified"),
        (Descending, "dynamic-inference", "unverified"),
        (Rounded, "non-differentiable-operations", "unverified"),
        (Leaving, "non-differentiable-operations", "unverified"),
        (Lying, "non-differentiable-operations", "unverified"),
        (Fitting, "non-differentiable-operations", "info"),
    ],
)
def test_a_model_built_to_be_caught_is_caught(model: type[Wrapped], check: str, severity: str) -> None:
    torch.manual_seed(0)
    finding = findings(model(), check)[check]
    assert finding.fired, finding.evidence
    assert finding.flag.severity == severity
    assert any(character.isdigit() for character in finding.evidence) or check in WORDS_ONLY


def test_an_undisturbed_network_raises_no_flag() -> None:
    assert [name for name, finding in findings(net()).items() if finding.fired] == []


def test_declared_randomness_is_information_and_nothing_else() -> None:
    finding = findings(Noisy(), "randomness", randomized=True)["randomness"]
    assert finding.fired
    assert finding.severity == "info"


def test_chance_is_not_blamed_on_memory_or_on_the_batch() -> None:
    found = findings(Noisy(), "state", "batch-dependence")
    assert not found["state"].fired
    assert not found["batch-dependence"].fired


def test_random_logits_scaled_by_a_million_are_still_random() -> None:
    class Large(Noisy):
        def forward(self, x: Tensor) -> Tensor:
            return 1e6 * super().forward(x)

    assert findings(Large(), "randomness")["randomness"].fired


def test_a_network_scaled_by_a_million_is_still_honest() -> None:
    class Large(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            return 1e6 * self.net(x)  # type: ignore[no-any-return]

    fired = {name: f.severity for name, f in findings(Large()).items() if f.fired}
    assert fired == {"zero-gradients": "info"}, "cross-entropy saturates, DLR does not"


def test_a_function_whose_inside_cannot_be_seen_is_not_held_against_it() -> None:
    bare = net()
    found = findings(lambda x: bare(x), "non-differentiable-operations", "dynamic-inference")  # type: ignore[arg-type]
    assert [(finding.fired, "not measured" in finding.evidence) for finding in found.values()] == [(False, True)] * 2


def test_declared_random_parts_are_not_called_crooked() -> None:
    found = findings(Noisy(), "non-differentiable-operations", "planted-examples", randomized=True)
    assert not any(finding.fired for finding in found.values())
