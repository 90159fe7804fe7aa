"""A model that turns into another one while it is searched gains nothing that counts, whenever it turns."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from evaluator.attacks import PGD
from evaluator.attacks.base import Batch
from evaluator.checks import Honest
from evaluator.checks.audit import KEPT, Auditor
from evaluator.data.tensors import Examples
from evaluator.draws import Draws
from evaluator.ensembles import Sequence, Stage
from evaluator.ensembles.members import Member, Members
from evaluator.judging.closest_points import closest_by_votes
from evaluator.judging.defense import Defense
from evaluator.judging.evaluation import Verdict, evaluate
from evaluator.models.meter import Meter, MeteredModel
from evaluator.models.reading import ARGMAX, Reading, Votes
from evaluator.models.reservoir import Model, Reservoir, itself
from evaluator.records.report import Flag
from evaluator.threats import L2, Linf, Union
from evaluator.threats.grid import on_grid
from tests.evaluator.cheats import changed

ENSEMBLE = Sequence("test", (Stage("PGD", PGD(steps=10, loss="margin")),))
COUNT = 40
IMAGES = torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(2))


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


def judge(fresh: Callable[[], nn.Module], reading: Reading = ARGMAX) -> Verdict:
    return evaluate(Defense(lambda: nullcontext(fresh()), reading), examples(), Linf(0.12), ENSEMBLE, seed=5)


def flagged(verdict: Verdict) -> list[str]:
    return [flag.check for flag in verdict.flags if flag.severity == "unverified"]


@pytest.mark.parametrize("spared", [False, True])
def test_whenever_a_model_turns_it_is_unverified_or_stands_as_it_would_have(spared: bool) -> None:
    """... and nothing but the audit shows it, where clean images are spared and the fresh copy repeats every claim."""
    honest = judge(Turning)
    assert flagged(honest) == []
    alone = 0
    for after in range(COUNT, honest.forward_rows, COUNT):
        verdict = judge(lambda: Turning(after, spared=spared))  # noqa: B023 (called only within this round)
        more = int(verdict.robust.sum()) > int(honest.robust.sum())
        assert not more or flagged(verdict), after
        alone += more and flagged(verdict) == ["replay"]
    assert alone > 0 or not spared, "the test needs a model that nothing else catches"


def test_answers_that_are_declared_random_may_differ() -> None:
    assert "replay" in flagged(judge(Noisy))
    assert "replay" not in flagged(judge(Noisy, Votes(1)))


def test_randomness_that_a_check_has_seen_is_not_shown_twice() -> None:
    verdict = evaluate(Defense(lambda: nullcontext(Noisy())), examples()[:16], Linf(0.12), Honest(ENSEMBLE), seed=5)
    assert "randomness" in flagged(verdict)
    assert "replay" not in flagged(verdict)


@pytest.mark.parametrize(("shift", "fires"), [(1e-6, False), (1e-2, True)])
def test_answers_may_differ_by_rounding_only(shift: float, fires: bool) -> None:
    class Shifting(Turning):
        """Its answers grow with every pass of its first hundred."""

        def forward(self, x: Tensor) -> Tensor:
            self.rows += 1
            logits: Tensor = self.net(x)
            return logits * (1 + shift * min(self.rows, 100))

    verdict = judge(Shifting)
    assert flagged(verdict) == (["replay"] if fires else [])


class Remembering(Turning):
    """Whoever asks first about an image decides how its neighbourhood is answered, wherever the answer would be another class.

    Clean images, points that keep their label, and gradients are honest; there is no phase.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known = torch.empty(0, 1, 6, 6)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        if len(self.known):
            distance = (x.detach()[:, None] - self.known[None]).abs().flatten(2).amax(dim=2)
            nearest = distance.argmin(dim=1)
            near = distance.gather(1, nearest[:, None]).squeeze(1) < 0.25
            first = self.net(self.known[nearest])
            logits = torch.where((near & (first.argmax(dim=1) != logits.argmax(dim=1)))[:, None], first + 0 * logits, logits)
        else:
            near = torch.zeros(len(x), dtype=torch.bool)
        self.known = torch.cat([self.known, x.detach()[~near]])
        return logits


def test_a_memory_of_the_first_question_wins_nothing() -> None:
    assert "replay" in flagged(judge(Remembering))
    assert flagged(judge(Turning)) == []


class LyingInWideBatches(Turning):
    """Honest logits; in batches of more than 30 rows the gradient leads away."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        if len(x) > 30 and x.requires_grad:
            logits = logits.detach() + (self.net(1 - x) - self.net(1 - x).detach())
        return logits


def test_a_lie_in_the_gradient_of_wide_batches_is_heard_in_small_ones() -> None:
    verdict = judge(LyingInWideBatches)
    assert "replay" in flagged(verdict)
    assert "gradients of the search" in next(flag.evidence for flag in verdict.flags if flag.check == "replay")


class LyingNearTheBoundary(Turning):
    """Honest logits; where two classes are near each other, and nowhere else, the gradient is turned round."""

    def forward(self, x: Tensor) -> Tensor:
        best = self.net(x.detach()).topk(2, dim=1).values
        near = (best[:, 0] - best[:, 1]) < 0.3
        logits: Tensor = self.net(changed(x, 1 - 2.0 * near.float()[:, None, None, None]))
        return logits


def test_a_lie_in_the_gradient_that_every_copy_tells_is_heard_where_the_search_went() -> None:
    verdict = judge(LyingNearTheBoundary)
    assert "replay" in flagged(verdict)
    assert "cosine" in next(flag.evidence for flag in verdict.flags if flag.check == "replay")


def test_the_closest_points_of_a_random_model_are_asked_once_more_by_votes() -> None:
    """... of a fresh copy: what its votes lose there is a claim, whatever single answers of the search said."""
    part, model = examples(), Noisy()
    batch = Batch(part.x, part.y, Draws(5, part.ids), reading=Votes(1))
    ends = PGD(steps=20, loss="margin")(Turning(), part.x, part.y, Linf(0.3))
    asked = MeteredModel(lambda x: 20 * Turning()(x) + 0.05 * model(x), Meter(), classes=4)
    found = closest_by_votes(asked, batch, Linf(0.3), ends)
    truth = Turning()(ends).argmax(dim=1) != part.y
    assert not bool((found.broken & ~truth).any())
    assert int(found.broken.sum()) > int(truth.sum()) / 2 > 5
    assert found.flags == []
    assert not bool(closest_by_votes(asked, batch, Linf(0.3), part.x).broken.any())
    outside = (part.x + 0.6).clamp(0, 1)
    assert not bool(closest_by_votes(asked, batch, Linf(0.3), outside).broken.any())


class Flattering(Noisy):
    """Declared random; surer of itself whenever it may be differentiated."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        surer = 5.0 * torch.nn.functional.one_hot(logits.argmax(dim=1), 4) * float(x.requires_grad)
        return logits + 0.01 * torch.randn(len(x), 4) + surer


def test_random_answers_are_compared_as_distributions() -> None:
    assert "replay" not in flagged(judge(Noisy, Votes(1)))
    assert "replay" in flagged(judge(Flattering, Votes(1)))


@pytest.mark.parametrize("seed", [13, 25])
def test_noise_that_a_random_model_draws_once_for_a_pass_is_not_doubted(seed: int) -> None:
    class ByPass(Turning):
        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.net(x)
            return logits * (1 + 0.1 * float(torch.randn(())))

    torch.manual_seed(seed)
    kept, model = Reservoir(KEPT, seed), ByPass()
    searched = MeteredModel(model, Meter(), classes=4, reservoir=kept)
    torch.manual_seed(seed)
    for _ in range(60):
        searched(torch.rand(40, 1, 6, 6))
    assert Auditor(model, metered, kept.exchanges(), seed, random=True).grown() == []


class Voting(nn.Module):
    """Declared random: one-hot votes, wrong in one of ten passes; in nineteen of twenty during the first `drift` rows."""

    def __init__(self, seed: int, drift: int = 0) -> None:
        super().__init__()
        self.dice, self.drift, self.rows = torch.Generator().manual_seed(seed), drift, 0

    def forward(self, x: Tensor) -> Tensor:
        share = 0.95 if self.rows < self.drift else 0.1
        self.rows += len(x)
        wrong = torch.rand(len(x), generator=self.dice) < share
        return torch.nn.functional.one_hot(wrong.long(), 2).float() + 0 * x.flatten(1)[:, :1]


def voted(seed: int, drift: int = 0) -> list[Flag]:
    """What the audit says about one-hot votes that were asked with a gradient and without."""
    kept, images = Reservoir(KEPT, seed), torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(seed))
    searched = MeteredModel(Voting(seed, drift), Meter(), classes=2, reservoir=kept)
    for _ in range(10):
        with torch.no_grad():
            searched(images)
        leaf = images.clone().requires_grad_(True)
        torch.autograd.grad(searched(leaf).sum(), leaf)
    return Auditor(Voting(seed + 100), metered, kept.exchanges(), seed, random=True).grown()


@pytest.mark.parametrize("seed", range(6))
def test_honest_votes_that_are_single_labels_are_not_doubted(seed: int) -> None:
    """Nearly all of them tie: a test that lets ties fall to one side takes honest labels for a trend."""
    assert voted(seed) == []


@pytest.mark.parametrize("seed", range(6))
def test_single_labels_whose_chances_drift_are_doubted(seed: int) -> None:
    assert [flag.check for flag in voted(seed, drift=10**6)] == ["replay"]


def metered(model: Model) -> MeteredModel:
    return MeteredModel(model, Meter(), classes=model(torch.zeros(1, 1, 6, 6)).shape[1])


def replayed(said: nn.Module, fresh: nn.Module, x: Tensor) -> list[Flag]:
    """What the audit of `fresh` says about the answers of `said` to x."""
    kept = Reservoir(KEPT, 1)
    with torch.no_grad():
        kept.answered(itself, x, said(x))
    return Auditor(fresh, metered, kept.exchanges(), 1).grown()


class Shifted(Turning):
    """A constant beside all logits, which names no class."""

    def __init__(self, by: float, factor: float = 1.0) -> None:
        super().__init__()
        self.by, self.factor = by, factor

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.factor * self.net(x)
        return logits + self.by


@pytest.mark.parametrize("by", [0.0, 1e3, 1e5])
def test_a_constant_beside_the_logits_hides_no_other_network(by: float) -> None:
    assert replayed(Shifted(by), Shifted(by), IMAGES) == []
    assert [flag.check for flag in replayed(Shifted(by), Shifted(by, factor=2.0), IMAGES)] == ["replay"]


class Padded(Shifted):
    """One logit that never wins, so far below the others that a tolerance of the spread would forgive everything."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([super().forward(x), torch.full((len(x), 1), -1e6)], dim=1)


class Louder(Shifted):
    """Honest and a million times louder for most inputs, so that a tolerance of what most leads are would forgive the rest."""

    def forward(self, x: Tensor) -> Tensor:
        loud = torch.where(x.flatten(1)[:, 0] < 0.7, 1e6, 1.0)
        factor = torch.where(loud > 1, 1.0, self.factor)
        return self.net(x) * (loud * factor)[:, None]  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", [Padded, Louder])
def test_other_logits_and_other_rows_however_large_hide_no_other_network(kind: type[Shifted]) -> None:
    assert replayed(kind(0.0), kind(0.0), IMAGES) == []
    assert [flag.check for flag in replayed(kind(0.0), kind(0.0, factor=-1.0), IMAGES)] == ["replay"]
    assert [flag.check for flag in replayed(kind(0.0), kind(0.0, factor=2.0), IMAGES)] == ["replay"]


class OfTwo(Turning):
    """Two classes and one number between them, whose last digits depend on the size of the pass."""

    def forward(self, x: Tensor) -> Tensor:
        middle = self.net(IMAGES)[:, :1].median()
        score = self.net(x)[:, :1] - middle + 1e-6 * torch.sin(torch.tensor(float(len(x))))
        return torch.cat([-score, score], dim=1)


def test_two_classes_may_be_as_near_to_each_other_as_rounding() -> None:
    model = OfTwo()
    order = model(IMAGES)[:, 1].argsort()
    low, high = IMAGES[order[:10]], IMAGES[order[-10:]]
    for _ in range(40):  # onto the boundary
        middle = (low + high) / 2
        above = (model(middle).argmax(dim=1) == 1)[:, None, None, None]
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    assert replayed(model, model, torch.cat([IMAGES, low, high])) == []


def test_a_gray_level_that_float32_has_rounded_stays_the_same_gray_level() -> None:
    x = (torch.arange(256.0) / 255).reshape(1, 1, 16, 16)
    points = x.clone()
    points[0, 0, 5, 0] += 0.1003
    budget = float((points - x).norm())
    twin = on_grid(x, points, L2(budget))
    assert twin is not None
    assert int(((twin - x).abs() > 1e-4).sum()) == 1
    assert L2(budget).contains(x, twin).all()


def test_the_closest_points_are_asked_as_files_too() -> None:
    """The search climbs on a network that floats meet; a file near its closest point meets the other one."""
    truth = examples()

    class Stubborn(Turning):
        def forward(self, x: Tensor) -> Tensor:
            off = (255 * torch.pi * x).sin().square().flatten(1).mean(dim=1) > 1e-6
            nearest = (x.detach()[:, None] - truth.x[None]).abs().flatten(2).amax(dim=2).argmin(dim=1)
            stubborn = 50.0 * torch.nn.functional.one_hot(truth.y[nearest], 4)
            logits: Tensor = self.net(x)
            return logits + torch.where(off[:, None], stubborn, 0.0)

    verdict = judge(Stubborn)
    honest = judge(Turning)
    assert int(verdict.robust.sum()) < (int(honest.robust.sum()) + COUNT) / 2
    assert "closest-points" in flagged(verdict)


def test_what_stands_under_a_union_has_a_closest_point_too() -> None:
    """... that is not the clean image, which tells nothing and which a fresh copy is not to see first."""
    part, threat = examples(), Union((Linf(0.02), L2(0.1)))
    search = Members(tuple(Member(member, ENSEMBLE) for member in threat.members))
    model = MeteredModel(Turning(), Meter(), classes=4)
    found = search.run(model, Batch(part.x, part.y, Draws(5, part.ids)), threat, lambda step: None)
    standing = found.broken_by < 0
    assert bool(standing.any())
    assert bool((found.points != part.x)[standing].flatten(1).any(dim=1).all())
    assert bool(threat.contains(part.x, found.points).all())


def test_no_examples_have_nothing_to_repeat() -> None:
    verdict = evaluate(Defense(lambda: nullcontext(Turning())), examples()[:0], Linf(0.12), ENSEMBLE, seed=5)
    assert flagged(verdict) == []
