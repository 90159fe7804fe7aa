"""What the host tells of a submission's inside: words of the scorer's own, and evidence that survives a lying process."""

from __future__ import annotations

import json

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from evaluator.attacks.base import Batch
from evaluator.checks import Finding, Subject, examine, registered
from evaluator.defenses.recipes import BASELINES
from evaluator.defenses.reference.golden import FOLDER
from evaluator.draws import Draws
from evaluator.errors import SubmissionError
from evaluator.host.inspection import Inspection, inspect
from evaluator.host.load import load_submission
from evaluator.host.proxy import RemoteModel
from evaluator.host.wire import Message
from evaluator.models.meter import Meter, MeteredModel
from evaluator.threats import Linf
from tests.evaluator.hosts import hosted

GREY = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["mnist-standard", "mnist-pgd"])
def test_nothing_is_seen_in_an_ordinary_network(name: str) -> None:
    assert inspect(load_submission(BASELINES / name), GREY) == Inspection()


def test_the_loop_before_a_network_is_seen_and_named() -> None:
    seen = inspect(load_submission(FOLDER / "anti_adversary"), GREY)
    assert (seen.cut, seen.dynamic, seen.crooked) == (True, True, ["AntiAdversary"])
    assert seen.hard == {"detach": 1}


def test_a_lying_backward_is_named_with_its_function() -> None:
    seen = inspect(load_submission(FOLDER / "lying_backward"), GREY)
    assert (seen.functions, seen.crooked, seen.cut, seen.dynamic) == (["_Lie"], ["Lie"], False, False)


class Räuber(torch.autograd.Function):
    """Ends the gradient, under a name that Python allows and a report does not."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, cotangent: Tensor) -> Tensor:
        return torch.zeros_like(cotangent)


class Höhle(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        passed: Tensor = Räuber.apply(x)  # type: ignore[no-untyped-call]
        return passed


def test_names_beyond_ascii_are_reported_in_plain_letters() -> None:
    seen = inspect(nn.Sequential(Höhle(), nn.Flatten(), nn.Linear(784, 10)), GREY)
    assert (seen.functions, seen.crooked) == (["R_uber"], ["H_hle"])


def test_noise_with_a_right_gradient_is_not_crooked() -> None:
    assert inspect(load_submission(FOLDER / "noise_layers"), GREY) == Inspection()


def test_inspecting_leaves_the_random_state_and_the_hooks_as_they_were() -> None:
    model = load_submission(FOLDER / "noise_layers")
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    inspect(model, GREY)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not any(part._forward_hooks for part in model.modules())


def test_the_host_tells_and_the_checks_say_it() -> None:
    with hosted(FOLDER / "k_bit", classes=10) as model:
        found = _findings(model)
    operations = found["non-differentiable-operations"]
    assert operations.fired
    assert operations.evidence == "1 x round, a gradient that does not fit in Quantise was seen between input and logits."
    assert not found["dynamic-inference"].fired


def _findings(model: nn.Module) -> dict[str, Finding]:
    batch = Batch(GREY, torch.zeros(4, dtype=torch.int64), Draws(0, torch.arange(4)))
    wanted = [check for check in registered() if check.name in {"non-differentiable-operations", "dynamic-inference"}]
    found = examine(Subject(MeteredModel(model, Meter(), classes=10), batch, Linf(0.1)), wanted)
    return {finding.check: finding for finding in found}


class Liar:
    """A host that answers every question with the same inspection."""

    def __init__(self, inspection: str) -> None:
        self.inspection = inspection

    def ask(self, request: Message, *, limit: int, doing: str) -> Message:
        return Message("inspected", {"inspection": self.inspection})


@pytest.mark.parametrize(
    "told",
    [
        "",
        "{",
        '{"operations": {"<script>": 1}}',
        '{"crooked": ["<b>"]}',
        '{"cut": 3}',
        '{"more": 1}',
        '{"operations": {"round": -1}}',
    ],
)
def test_a_process_cannot_put_words_of_its_own_into_the_evidence(told: str) -> None:
    with pytest.raises(SubmissionError, match="inspection"):
        RemoteModel(Liar(told), classes=10).inspected(GREY)


def test_an_inspection_has_bounded_lists() -> None:
    with pytest.raises(ValidationError):
        Inspection.model_validate_json(json.dumps({"functions": ["F"] * 21}))


def test_rows_of_an_inspection_are_charged() -> None:
    meter = Meter()
    batch = Batch(GREY, torch.zeros(4, dtype=torch.int64), Draws(0, torch.arange(4)))
    subject = Subject(MeteredModel(load_submission(BASELINES / "mnist-standard"), meter, classes=10), batch, Linf(0.1))
    assert subject.inspection == Inspection()
    assert meter.forward_rows == 12


def test_a_model_that_fails_everywhere_fails_with_its_own_error() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if not torch.is_grad_enabled():
                raise RuntimeError("only with gradients")
            return x.flatten(1)[:, :3]

    with pytest.raises(RuntimeError, match="only with gradients"):
        inspect(Broken(), GREY)
