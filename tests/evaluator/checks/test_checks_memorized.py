"""Whoever knows the ranked images is not taken for robust; whoever knows only training images is left alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from evaluator.attacks.base import Batch
from evaluator.checks import Finding, Subject, examine, registered
from evaluator.checks.deformations import deformed
from evaluator.data.tensors import Examples, load, unranked
from evaluator.defenses.recipes import BASELINES
from evaluator.draws import Draws
from evaluator.host.load import load_submission
from evaluator.manifests.data_specs import DataSpec
from evaluator.models.meter import Meter, MeteredModel
from evaluator.threats import Linf

COUNT = 24
RANKED = DataSpec(dataset="mnist", examples=1000)


class Templates(nn.Module):
    """One linear layer and a maximum for each class: the nearest of known images, and of their shifts by a pixel."""

    def __init__(self, images: Tensor, labels: Tensor, *, shifts: bool) -> None:
        super().__init__()
        moves = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)] if shifts else [(0, 0)]
        known = torch.cat([images.roll(move, dims=(2, 3)) for move in moves]).flatten(1)
        self.known, self.labels = known, labels.repeat(len(moves))

    def forward(self, x: Tensor) -> Tensor:
        score = (nn.functional.linear(x.flatten(1), self.known) - self.known.square().sum(dim=1) / 2) / 3
        return torch.stack([score[:, self.labels == label].amax(dim=1) for label in range(10)], dim=1)


def ranked(count: int = COUNT) -> Examples:
    data = load("mnist", "test")
    return Examples(torch.arange(count), data.images[:count].float() / 255, data.labels[:count], 10)


def finding(model: nn.Module, *, controls: bool = True) -> Finding:
    part, others = ranked(), unranked(RANKED, 48, seed=3)
    assert others is not None
    right = model(part.x).argmax(dim=1) == part.y
    batch = Batch(part.x, part.y, Draws(1, part.ids))[right]
    beside = Batch(others.x, others.y, Draws(1, others.ids)) if controls else None
    subject = Subject(MeteredModel(model, Meter(), classes=10), batch, Linf(0.3), controls=beside)
    return examine(subject, [check for check in registered() if check.name == "memorized-inputs"])[0]


@pytest.mark.parametrize("controls", [True, False])
def test_templates_of_the_ranked_images_and_their_shifts_are_seen(controls: bool) -> None:
    part = ranked(200)
    assert finding(Templates(part.x, part.y, shifts=True), controls=controls).fired


def test_templates_of_the_whole_test_split_are_seen_by_deforming_it() -> None:
    data = load("mnist", "test")
    found = finding(Templates(data.images[:3000].float() / 255, data.labels[:3000], shifts=False))
    assert found.fired


def test_a_nearest_neighbor_among_training_images_is_left_alone() -> None:
    data = load("mnist", "train")
    assert not finding(Templates(data.images[:3000].float() / 255, data.labels[:3000], shifts=False)).fired


@pytest.mark.parametrize("name", ["mnist-pgd", "mnist-ibp", "mnist-standard"])
def test_trained_networks_are_left_alone(name: str) -> None:
    model = load_submission(BASELINES / name).eval().requires_grad_(False)
    assert not finding(model).fired


def test_images_that_do_not_rank_are_drawn_from_the_rest_of_the_split() -> None:
    first, second = unranked(RANKED, 48, seed=1), unranked(RANKED, 48, seed=2)
    assert first is not None
    assert second is not None
    assert int(first.ids.min()) >= RANKED.examples
    assert first.ids.tolist() != second.ids.tolist()
    assert unranked(DataSpec(dataset="mnist", examples=10_000), 48, seed=1) is None


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 5, 9)])
def test_deformations_stay_in_the_box_and_depend_on_the_image_alone(shape: tuple[int, int, int]) -> None:
    x = torch.rand(6, *shape, generator=torch.Generator().manual_seed(0))
    draws = Draws(4, torch.arange(6))
    moved = deformed(x, draws.fork("deformations"))
    assert moved.shape == x.shape
    assert 0 <= float(moved.min()) <= float(moved.max()) <= 1
    part = deformed(x[2:4], draws[2:4].fork("deformations"))
    torch.testing.assert_close(part, moved[2:4])
    assert bool((moved != x).flatten(1).any(dim=1).all())
