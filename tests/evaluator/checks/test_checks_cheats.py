"""Each check fires on a model built to be caught by it, and says what it measured."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from evaluator.attacks.base import Batch
from evaluator.checks import Finding, Subject, examine, registered
from evaluator.draws import Draws
from evaluator.models.meter import Meter, MeteredModel
from evaluator.models.reading import ARGMAX, Reading, Votes, WithDetector
from evaluator.threats import Linf
from tests.evaluator.cheats import (
    COUNT,
    BatchCentred,
    Cautious,
    Counting,
    Descending,
    Drifting,
    Filing,
    Fitting,
    Knowing,
    Leaving,
    Listing,
    Loud,
    Lying,
    Murmuring,
    Nearby,
    Noisy,
    Opposed,
    Probabilities,
    Remembering,
    Returning,
    Rounded,
    Sparse,
    Warming,
    Wrapped,
    net,
)

THREAT = Linf(0.15)
WORDS_ONLY = ("softmax-output", "dynamic-inference", "non-differentiable-operations")  # nothing there to count


def findings(model: nn.Module, *names: str, reading: Reading = ARGMAX) -> dict[str, Finding]:
    """The named checks (all by default) on examples that the undisturbed network classifies correctly."""
    x = torch.rand(COUNT, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = Batch(x, net()(x).argmax(dim=1), Draws(0, torch.arange(COUNT)))
    wanted = [check for check in registered() if not names or check.name in names]
    found = examine(Subject(MeteredModel(model, Meter(), classes=4), batch, THREAT, reading), wanted)
    return {finding.check: finding for finding in found}


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
        (Murmuring, "memorized-inputs", "unverified"),
        (Rounded, "planted-examples", "unverified"),
        (Lying, "planted-examples", "unverified"),
        (Cautious, "traffic-anomalies", "unverified"),
        (Loud, "traffic-anomalies", "unverified"),
        (Filing, "file-grid", "unverified"),
        (Opposed, "noise-beats-gradient", "unverified"),
        (Opposed, "transfer-beats-gradient", "unverified"),
        (Nearby, "accuracy-rising-with-epsilon", "unverified"),
        (Returning, "silent-success", "info"),
        (Warming, "more-steps", "info"),
        (Sparse, "incomplete-optimisation", "info"),
        (Counting, "state", "unverified"),
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
    finding = findings(Noisy(), "randomness", reading=Votes())["randomness"]
    assert finding.fired
    assert finding.severity == "info"


def test_chance_is_not_blamed_on_memory_or_on_the_batch() -> None:
    found = findings(Noisy(), "state", "batch-dependence")
    assert not found["state"].fired
    assert not found["batch-dependence"].fired


def test_random_answers_do_not_excuse_a_memory() -> None:
    class Both(Counting):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + 0.05 * torch.randn_like(x))

    finding = findings(Both(), "state", reading=Votes())["state"]
    assert finding.fired
    assert "1 parameters and buffers changed" in finding.evidence


class Refusing(nn.Module):
    """A declared detector; accepts: which inputs (n, *shape) it accepts."""

    def __init__(self, accepts: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self._accepts = net(), accepts

    def forward(self, x: Tensor) -> Tensor:
        score = torch.where(self._accepts(x), -1.0, 1.0) + 0 * x.flatten(1).sum(dim=1)
        return torch.cat([self.net(x), score[:, None]], dim=1)


def of_a_file(x: Tensor) -> Tensor:
    return ((x * 255).round() / 255 - x).abs().flatten(1).amax(dim=1) < 1e-6


@pytest.mark.parametrize(
    ("accepts", "fires"),
    [
        (of_a_file, True),
        (lambda x: of_a_file(x) | (x.flatten(1)[:, 0] > 0.5), True),
        (lambda x: (255 * torch.pi * x).sin().square().flatten(1).mean(dim=1) < 0.3, True),
        (lambda x: x.flatten(1).mean(dim=1) > 0.1, False),
        (lambda x: x.flatten(1).std(dim=1) < 10, False),
    ],
)
def test_a_detector_accepts_a_fifth_of_a_gray_level_and_refuses_points_as_it_refuses_their_rounded_twins(
    accepts: Callable[[Tensor], Tensor], fires: bool
) -> None:
    x = torch.randint(0, 256, (COUNT, 1, 8, 8), generator=torch.Generator().manual_seed(0)) / 255
    batch = Batch(x, net()(x).argmax(dim=1), Draws(0, torch.arange(COUNT)))
    asked = MeteredModel(Refusing(accepts), Meter(), classes=4, reading=WithDetector())
    wanted = [check for check in registered() if check.name == "file-grid"]
    (finding,) = examine(Subject(asked, batch, THREAT, WithDetector()), wanted)
    assert finding.fired == fires, finding.evidence


def test_every_check_has_a_model_that_it_catches() -> None:
    marker = next(mark for mark in test_a_model_built_to_be_caught_is_caught.pytestmark if mark.name == "parametrize")  # type: ignore[attr-defined]
    assert {check for _, check, _ in marker.args[1]} == {check.name for check in registered()}


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
    found = findings(Noisy(), "non-differentiable-operations", "planted-examples", reading=Votes())
    assert not any(finding.fired for finding in found.values())
