"""Every threat kind and honest networks: no check fires, whatever a point of the threat means and however they compute."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from evaluator.adaptive.over_views import OverViews
from evaluator.adaptive.relentless import Relentless
from evaluator.attacks import PGD
from evaluator.attacks.base import Batch
from evaluator.checks import Honest, Subject, examine, registered, sampled
from evaluator.data import examples
from evaluator.data.tensors import Examples
from evaluator.defenses.recipes import BASELINES
from evaluator.draws import Draws
from evaluator.ensembles import Sequence, Stage, standard
from evaluator.ensembles.in_expectation import InExpectation
from evaluator.errors import InputError
from evaluator.host.load import load_submission
from evaluator.judging.defense import Defense
from evaluator.judging.evaluation import evaluate
from evaluator.manifests.spec import DataSpec
from evaluator.manifests.threat_specs import threat_kinds
from evaluator.models.meter import Meter, MeteredModel
from evaluator.models.reading import Votes
from evaluator.threats import (
    L0,
    L1,
    L2,
    Color,
    Linf,
    Patch,
    Physical,
    RotationTranslation,
    Spatial,
    Sum,
    Threat,
    Union,
)
from evaluator.threats.corruptions import Corruptions
from evaluator.threats.physical import Views

THREATS: dict[str, Threat] = {
    "linf": Linf(0.3),
    "l2": L2(1.5),
    "l1": L1(8.0),
    "l0": L0(12),
    "union": Union((Linf(0.1), L2(1.0))),
    "spatial": Spatial(1.0),
    "rotation-translation": RotationTranslation(30, 3),
    "color": Color(0.2, 0.1),
    "sum": Sum((RotationTranslation(10, 1), Linf(0.05))),
    "patch": Patch(5),
    "physical": Physical(Patch(9)),
    "corruptions": Corruptions((1, 5)),
}
ON_CIFAR = THREATS | {"linf": Linf(8 / 255), "l2": L2(0.5), "l1": L1(4.0), "union": Union((Linf(4 / 255), L2(0.25)))}
SHIPPED = sorted(folder.name for folder in BASELINES.iterdir() if folder.is_dir())
# Two baselines a kind and one seed each: every baseline, every kind and every seed, where all of them together run nightly.
SMALL = [(kind, SHIPPED[(2 * i + k) % len(SHIPPED)], (i + k) % 3) for i, kind in enumerate(THREATS) for k in range(2)]


class Bfloat16(nn.Module):
    """A network as small devices run it: its rounding drowns differences over small steps."""

    def __init__(self) -> None:
        super().__init__()
        self.net = load_submission(BASELINES / "mnist-standard").bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x.bfloat16())
        return logits.float()


class Contrast(nn.Module):
    """More contrast, cut at white: flat where it is."""

    def __init__(self) -> None:
        super().__init__()
        self.net = load_submission(BASELINES / "mnist-pgd")

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net((1.8 * x).clamp(0, 1))
        return logits


class FiveShifts(nn.Module):
    """The mean answer to the image and to four translations of it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = load_submission(BASELINES / "mnist-standard")

    def forward(self, x: Tensor) -> Tensor:
        shifts = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
        return torch.stack([self.net(x.roll(shift, dims=(2, 3))) for shift in shifts]).mean(dim=0)


class Gamma(nn.Module):
    """A front end that has no answer outside the box."""

    def __init__(self) -> None:
        super().__init__()
        self.net = load_submission(BASELINES / "mnist-pgd")

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(((x + 0.01) ** 0.8).clamp(0, 1))
        return logits


UNUSUAL: dict[str, Callable[[], nn.Module]] = {
    "bfloat16": Bfloat16,
    "contrast": Contrast,
    "five shifts": FiveShifts,
    "gamma": Gamma,
}


def of_data(name: str) -> tuple[Literal["mnist", "cifar10"], dict[str, Threat]]:
    """The data set that a baseline is for, and the threats on it."""
    return ("cifar10", ON_CIFAR) if name.startswith("cifar10") else ("mnist", THREATS)


def subject(
    model: nn.Module, threat: Threat, *, count: int, seed: int, dataset: Literal["mnist", "cifar10"] = "mnist"
) -> Subject:
    images = examples(DataSpec(dataset=dataset, split="test", examples=count))
    correct = model(images.x).argmax(dim=1) == images.y
    batch = Batch(images.x, images.y, Draws(seed, images.ids))[correct]
    return Subject(MeteredModel(model, Meter(), classes=10), sampled(batch), threat)


def fired(
    model: nn.Module, threat: Threat, *, count: int, seed: int, dataset: Literal["mnist", "cifar10"] = "mnist"
) -> dict[str, str]:
    found = examine(subject(model, threat, count=count, seed=seed, dataset=dataset))
    assert {finding.check for finding in found} == {check.name for check in registered() if check.applies(threat)}
    return {finding.check: finding.evidence for finding in found if finding.fired}


def test_every_kind_of_threat_every_baseline_and_every_seed_is_in_the_matrix() -> None:
    assert THREATS.keys() == threat_kinds().keys()
    kinds, names, seeds = (set(each) for each in zip(*SMALL, strict=True))
    assert (kinds, names, seeds) == (THREATS.keys(), set(SHIPPED), {0, 1, 2})


@pytest.mark.parametrize(("threat", "name", "seed"), SMALL)
def test_no_check_fires_on_a_shipped_network_under_any_kind_of_threat(threat: str, name: str, seed: int) -> None:
    dataset, threats = of_data(name)
    assert fired(load_submission(BASELINES / name), threats[threat], count=5, seed=seed, dataset=dataset) == {}


@pytest.mark.parametrize("threat", THREATS)
def test_a_whole_verdict_on_a_shipped_network_has_no_flag_under_any_kind_of_threat(threat: str) -> None:
    """On images that fall soon; those that stand are searched to the end nightly."""
    images = examples(DataSpec(dataset="mnist", split="test", examples=3))[torch.tensor([0, 2])]
    ensemble, model = Honest(standard(THREATS[threat])), load_submission(BASELINES / "mnist-standard")
    verdict = evaluate(Defense.of(model), images, THREATS[threat], ensemble, seed=len(threat) % 3)
    assert [(flag.check, flag.evidence) for flag in verdict.flags] == []
    named = {record.name for record in verdict.attacks if record.broken}
    fell = bool((verdict.correct & ~verdict.robust).any())
    assert bool(named) == fell, "the report says which part of the search found what"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", UNUSUAL)
def test_no_check_fires_on_an_honest_network_that_computes_in_an_unusual_way(name: str, seed: int) -> None:
    assert fired(UNUSUAL[name](), Linf(0.3), count=20, seed=seed) == {}


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("threat", THREATS)
@pytest.mark.parametrize("name", [*SHIPPED, *UNUSUAL])
def test_an_honest_network_is_verified_under_every_kind_of_threat(name: str, threat: str, seed: int) -> None:
    model = UNUSUAL[name]() if name in UNUSUAL else load_submission(BASELINES / name)
    dataset, threats = of_data(name)
    images = examples(DataSpec(dataset=dataset, split="test", examples=40))
    ensemble = Honest(standard(threats[threat]))
    verdict = evaluate(Defense.of(model), images, threats[threat], ensemble, seed=seed)
    assert [(flag.check, flag.evidence) for flag in verdict.flags] == []


@pytest.mark.parametrize("threat", ["rotation-translation", "spatial", "color", "corruptions", "sum", "patch"])
def test_neighbors_that_change_an_answer_are_seen_under_every_kind_of_threat(threat: str) -> None:
    model = load_submission(BASELINES / "mnist-standard")

    class Centred(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = model((x - 0.5 * x.mean(dim=0, keepdim=True)).clamp(0, 1))
            return logits

    wanted = [check for check in registered() if check.name == "batch-dependence"]
    (finding,) = examine(subject(Centred(), THREATS[threat], count=20, seed=0), wanted)
    assert finding.fired, finding.evidence


@pytest.mark.parametrize("bpda", [False, True])
def test_what_breaks_the_object_and_not_its_views_is_no_break(bpda: bool) -> None:
    """... so that neither checks nor the adaptive attack (which a declared stand-in calls) beat a search by it."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 4)).requires_grad_(False)
    x = torch.randint(0, 256, (20, 1, 8, 8), generator=torch.Generator().manual_seed(0)) / 255
    threat = Physical(Linf(0.25), Views(rotation=90.0), samples=16, threshold=1.0)
    climb = Stage("climb", OverViews(Relentless(steps=5, loss="margin"), seed=1))
    ensemble = Honest(InExpectation((climb,), climb, ()), bpda=bpda)
    part = Examples(torch.arange(20), x, model(x).argmax(dim=1), 4)
    verdict = evaluate(Defense.of(model), part, threat, ensemble, seed=5)
    assert bool(verdict.robust.all())
    assert [(flag.check, flag.evidence) for flag in verdict.flags] == []


def test_a_break_of_the_views_counts_where_a_random_model_withstands_the_object_itself() -> None:
    class Straight(nn.Module):
        """Right about the very images and about nothing else, with some noise."""

        def forward(self, x: Tensor) -> Tensor:
            near = (x[:, None] - images[None]).abs().flatten(2).amax(dim=2) <= 0.011
            right, wrong = torch.tensor([20.0, 0.0]), torch.tensor([0.0, 20.0])
            return torch.where(near.any(dim=1)[:, None], right, wrong) + torch.randn(len(x), 2) + 0 * x.sum()

    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    threat = Physical(Linf(0.01), Views(rotation=90.0), samples=16, threshold=0.5)
    climb = Stage("climb", OverViews(Relentless(steps=2, loss="margin"), seed=1))
    ensemble = Honest(InExpectation((climb,), climb, ()))
    part = Examples(torch.arange(6), images, torch.zeros(6, dtype=torch.int64), 2)
    verdict = evaluate(Defense(lambda: nullcontext(Straight()), Votes()), part, threat, ensemble, seed=5)
    assert bool(verdict.correct.all())
    assert not bool(verdict.robust.any())


def test_points_without_their_images_are_refused() -> None:
    asked = subject(load_submission(BASELINES / "mnist-standard"), THREATS["rotation-translation"], count=10, seed=0)
    with pytest.raises(InputError, match="1 points do not fit 10 images"):
        asked.answers(asked.probes[:1])


def test_a_check_that_does_not_apply_everywhere_says_why() -> None:
    for check in registered():
        assert bool(check.elsewhere) == (check.needs is not None), check.name


class Clock:
    """A clock that only the model moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1e-6
        return self.now


class Unsteady(nn.Module):
    """The same answers at a pace that follows no rule: long for what an attack asks, longer for every third question."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.net, self.clock, self.asked = load_submission(BASELINES / "mnist-standard"), clock, 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += 1
        self.clock.now += 1000.0 * (self.asked % 3) if len(x) % 2 else 5.0
        logits: Tensor = self.net(x)
        return logits


def test_a_verdict_and_its_flags_depend_on_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    images = examples(DataSpec(dataset="mnist", split="test", examples=9))
    quick = Honest(Sequence("quick", (Stage("PGD", PGD(steps=10, loss="margin")),)))
    steady = load_submission(BASELINES / "mnist-standard")
    calm = evaluate(Defense.of(steady), images, Linf(0.1), quick, seed=3)
    clock = Clock()
    for name in ("perf_counter", "monotonic", "time", "process_time"):
        monkeypatch.setattr(f"time.{name}", clock)
    busy = evaluate(Defense(lambda: nullcontext(Unsteady(clock))), images, Linf(0.1), quick, seed=3)
    monkeypatch.undo()
    assert busy.seconds > 1000
    assert [flag.model_dump() for flag in busy.flags] == [flag.model_dump() for flag in calm.flags]
    assert [record.model_dump() for record in busy.checks] == [record.model_dump() for record in calm.checks]
    assert torch.equal(busy.points, calm.points)
    assert torch.equal(busy.broken_by, calm.broken_by)
