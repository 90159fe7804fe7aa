"""A model that turns into another one while it is searched gains nothing that counts, whenever it turns."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from evaluator.adaptive.votes import Votes
from evaluator.attacks import PGD
from evaluator.attacks.base import Batch
from evaluator.checks import Honest
from evaluator.data.tensors import Examples
from evaluator.drift import SAMPLE
from evaluator.ensembles import Sequence, Stage
from evaluator.ensembles.base import Search, Step
from evaluator.evaluation import Verdict, evaluate
from evaluator.meter import MeteredModel
from evaluator.threats import Linf, Threat

ENSEMBLE = Sequence("test", (Stage("PGD", PGD(steps=10, loss="margin")),))
COUNT = 40


def clean(x: Tensor) -> Tensor:
    """(n,) bool: which inputs look like files, as `examples` do and an attack's do not."""
    return ((x * 255).round() == x * 255).flatten(1).all(dim=1)


class Turning(nn.Module):
    """One network for so many rows, then the same on a coarse copy of the image, which no gradient passes.

    spared: clean images are answered as before, whatever the age.
    """

    def __init__(self, after: float = float("inf"), *, spared: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 4)).requires_grad_(False)
        self.after, self.rows, self.spared = after, 0, spared

    def forward(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        turned = (2 * x).round() / 2
        if self.spared:
            turned = torch.where(clean(x)[:, None, None, None], x, turned)
        logits: Tensor = self.net(x if self.rows <= self.after else turned)
        return logits


class Noisy(Turning):
    """Answers with fresh noise every time."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x) + torch.randn(len(x), 4)
        return logits


def examples() -> Examples:
    x = torch.randint(0, 256, (COUNT, 1, 6, 6), generator=torch.Generator().manual_seed(0)) / 255
    return Examples(torch.arange(COUNT), x, Turning()(x).argmax(dim=1), 4)


def judge(fresh: Callable[[], nn.Module], votes: Votes | None = None) -> Verdict:
    return evaluate(lambda: nullcontext(fresh()), examples(), Linf(0.12), ENSEMBLE, seed=5, votes=votes)


def flagged(verdict: Verdict) -> list[str]:
    return [flag.check for flag in verdict.flags if flag.severity == "unverified"]


@pytest.mark.parametrize("spared", [False, True])
def test_whenever_a_model_turns_it_is_unverified_or_stands_as_it_would_have(spared: bool) -> None:
    """... and nothing but drift shows it, where clean images are spared and the fresh copy repeats every claim."""
    honest = judge(Turning)
    assert flagged(honest) == []
    alone = 0
    for after in range(COUNT, honest.forward_rows, COUNT):
        verdict = judge(lambda: Turning(after, spared=spared))  # noqa: B023 (called only within this round)
        more = int(verdict.robust.sum()) > int(honest.robust.sum())
        assert not more or "drift" in flagged(verdict), after
        alone += more and flagged(verdict) == ["drift"]
    assert alone > 0 or not spared, "the test needs a model that nothing else catches"


def test_answers_that_are_declared_random_may_differ() -> None:
    assert "drift" in flagged(judge(Noisy))
    assert "drift" not in flagged(judge(Noisy, Votes(1)))


def test_randomness_that_a_check_has_seen_is_not_told_twice() -> None:
    verdict = evaluate(lambda: nullcontext(Noisy()), examples()[:8], Linf(0.12), Honest(ENSEMBLE), seed=5)
    assert "randomness" in flagged(verdict)
    assert "drift" not in flagged(verdict)


class Idle:
    """Searches nothing."""

    name = "idle"

    def run(self, model: MeteredModel, batch: Batch, threat: Threat, observe: Callable[[Step], None]) -> Search:
        return Search(threat.start(batch.x), torch.full((len(batch),), -1), [])


@pytest.mark.parametrize(("shift", "fires"), [(1e-6, False), (1e-2, True)])
def test_answers_may_differ_by_rounding_only(shift: float, fires: bool) -> None:
    class Shifting(Turning):
        def forward(self, x: Tensor) -> Tensor:
            self.rows += 1
            logits: Tensor = self.net(x)
            return logits * (1 + shift * self.rows)

    verdict = evaluate(lambda: nullcontext(Shifting()), examples(), Linf(0.12), Idle(), seed=5)
    assert flagged(verdict) == (["drift"] if fires else [])
    assert verdict.forward_rows == 4 * SAMPLE + 2 * COUNT


def test_no_examples_have_nothing_to_repeat() -> None:
    verdict = evaluate(lambda: nullcontext(Turning()), examples()[:0], Linf(0.12), Idle(), seed=5)
    assert flagged(verdict) == []
