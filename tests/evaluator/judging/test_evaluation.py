"""The evaluation's promises: verified claims only, order and sharding change nothing, cancellation is prompt."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from evaluator.attacks import FGSM, PGD
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.data.tensors import Examples
from evaluator.ensembles import Sequence, Stage
from evaluator.errors import Cancelled, SubmissionError
from evaluator.judging.defense import Defense
from evaluator.judging.evaluation import Verdict, evaluate
from evaluator.judging.watch import Observer
from evaluator.records.report import Progress
from evaluator.threats import Linf, Threat

THREAT = Linf(0.12)
ENSEMBLE = Sequence("test", (Stage("FGSM", FGSM()), Stage("PGD", PGD(steps=10, loss="margin", restarts=2))), slice_examples=16)


def net() -> nn.Module:
    torch.manual_seed(3)
    layers = (nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 4))
    return nn.Sequential(*layers).requires_grad_(False)


def examples(count: int = 40) -> Examples:
    x = torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    y = net()(x).argmax(dim=1)
    y[:3] = (y[:3] + 1) % 4
    return Examples(torch.arange(count), x, y, 4)


def judge(model: Model, part: Examples, ensemble: Sequence = ENSEMBLE, seed: int = 5, **options: object) -> Verdict:
    return evaluate(Defense.of(model), part, THREAT, ensemble, seed=seed, **options)  # type: ignore[arg-type]


def test_bits_say_what_an_independent_check_says() -> None:
    part, model = examples(), net()
    verdict = judge(model, part)
    with torch.no_grad():
        assert torch.equal(verdict.correct, model(part.x).argmax(dim=1) == part.y)
        still = model(verdict.points).argmax(dim=1) == part.y
    assert torch.equal(verdict.robust, still & verdict.correct)
    assert bool(THREAT.contains(part.x, verdict.points, slack=0).all())
    assert 0 < int(verdict.robust.sum()) < int(verdict.correct.sum()), "the test needs both falls and survivors"
    assert torch.equal(verdict.broken_by >= 0, verdict.correct & ~verdict.robust)


def test_records_account_for_every_fall_and_every_row() -> None:
    part = examples()
    verdict = judge(net(), part)
    correct = int(verdict.correct.sum())
    assert verdict.attacks[0].tried == correct
    assert correct - sum(record.broken for record in verdict.attacks) == int(verdict.robust.sum())
    checks = len(part) + len(part) + int((verdict.broken_by >= 0).sum())
    assert sum(record.forward_rows for record in verdict.attacks) + checks == verdict.forward_rows
    assert sum(record.backward_rows for record in verdict.attacks) == verdict.backward_rows


def test_shards_and_slices_change_no_bit() -> None:
    whole, part = judge(net(), examples()), examples()
    shards = [judge(net(), part[first : first + 7]) for first in range(0, 40, 7)]
    assert torch.equal(whole.robust, torch.cat([shard.robust for shard in shards]))
    assert torch.equal(whole.broken_by, torch.cat([shard.broken_by for shard in shards]))
    other = judge(net(), part, Sequence("test", ENSEMBLE.stages, slice_examples=3))
    assert torch.equal(whole.points, other.points)


def test_the_seed_decides_everything() -> None:
    part = examples()
    assert torch.equal(judge(net(), part).points, judge(net(), part).points)
    assert not torch.equal(judge(net(), part).points, judge(net(), part, seed=6).points)


@dataclass(frozen=True)
class Cheating(Attack):
    """Returns points outside the threat, or not finite."""

    value: float

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        return torch.full_like(batch.x, self.value)


@pytest.mark.parametrize("value", [1.0, 0.0, -3.0, float("nan"), float("inf")])
def test_a_claim_outside_the_budget_never_counts(value: float) -> None:
    part = examples()
    verdict = judge(lambda x: net()(x.nan_to_num(0.5, 0.9, 0.1)), part, Sequence("cheat", (Stage("cheat", Cheating(value)),)))
    assert int((verdict.correct & ~verdict.robust).sum()) == 0


class Forgetful(nn.Module):
    """Answers wrongly from its 700th row on: what the search host did cannot be repeated on a fresh one."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.seen = net(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        logits: Tensor = self.net(x)
        return logits if self.seen < 700 else -logits


def test_a_claim_that_a_fresh_model_does_not_repeat_is_a_flag_and_no_fall() -> None:
    verdict = evaluate(Defense(lambda: nullcontext(Forgetful())), examples(), Linf(1e-6), ENSEMBLE, seed=1)
    assert [flag.check for flag in verdict.flags if flag.severity == "unverified"] == ["replay", "claim-repeat"]
    assert torch.equal(verdict.robust, verdict.correct)


def test_progress_moves_from_the_clean_pass_to_the_verification_and_never_backwards() -> None:
    seen: list[Progress] = []
    judge(net(), examples(), observer=Observer(on_progress=seen.append))
    assert [stage for i, stage in enumerate(p.stage for p in seen) if i == 0 or seen[i - 1].stage != stage] == [
        "starting",
        "clean",
        "attacking",
        "verifying",
    ]
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert [p.survivors for p in seen] == sorted((p.survivors for p in seen), reverse=True)
    assert all(p.total == 40 for p in seen)


def test_a_cancelled_evaluation_stops_before_the_next_pass() -> None:
    calls = []

    def model(x: Tensor) -> Tensor:
        calls.append(len(x))
        return net()(x)  # type: ignore[no-any-return]

    with pytest.raises(Cancelled):
        judge(model, examples(), observer=Observer(cancelled=lambda: len(calls) >= 5))
    assert len(calls) == 5


def test_a_model_that_breaks_the_contract_midway_leaves_no_verdict() -> None:
    calls = []

    def model(x: Tensor) -> Tensor:
        calls.append(1)
        logits: Tensor = net()(x)
        return logits if len(calls) < 4 else logits * torch.nan

    with pytest.raises(SubmissionError, match="NaN"):
        judge(model, examples())


def test_an_evaluation_of_no_examples_is_empty() -> None:
    verdict = judge(net(), examples()[:0])
    assert len(verdict.robust) == 0
    assert verdict.forward_rows == 0
