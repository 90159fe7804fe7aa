"""The oracles give exactly what their access level allows."""

from __future__ import annotations

import torch

from evaluator.models.access import LabelOracle, labels, scores
from tests.evaluator.blackbox import Curved, images

MODEL = Curved(6, seed=2)


def test_scores_never_require_a_gradient() -> None:
    x = images(5, 6).requires_grad_(True)
    assert MODEL(x).requires_grad
    assert not scores(MODEL, x).requires_grad
    assert torch.equal(scores(MODEL, x), MODEL(x))


def test_labels_are_one_hot_rows_of_the_predicted_class() -> None:
    x = images(5, 6).requires_grad_(True)
    answer = LabelOracle(MODEL)(x)
    assert not answer.requires_grad
    assert torch.equal(answer, torch.eye(3)[MODEL(x).argmax(dim=1)])


def test_labels_are_the_same_at_every_access_level() -> None:
    x = images(20, 6)
    expected = MODEL(x).argmax(dim=1)
    assert all(torch.equal(labels(model, x), expected) for model in (MODEL, LabelOracle(MODEL)))


def test_the_model_sees_no_graph_of_the_attacker() -> None:
    seen: list[bool] = []

    def model(x: torch.Tensor) -> torch.Tensor:
        seen.extend([x.requires_grad, torch.is_grad_enabled()])
        return x

    scores(model, images(2, 3).requires_grad_(True))
    assert seen == [False, False]
