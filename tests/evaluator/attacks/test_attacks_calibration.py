"""Published and verified figures of the SDP networks: strong attacks reach the bound, none goes below what is proved."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor

from evaluator.attacks.base import Batch
from evaluator.attacks.minimal_norm import within
from evaluator.attacks.registry import create
from evaluator.draws import Draws
from evaluator.threats import Linf
from tests.evaluator.attack_support import Counting
from tests.evaluator.support import sdp_images, sdp_model

VERIFIED = {"cifar": 48.5, "mnist": 76.0}
EPSILON = {"cifar": 2 / 255, "mnist": 0.3}


@functools.cache
def standing(data: str) -> tuple[Tensor, Tensor, Tensor]:
    """x, y and ids of the calibration images that are classified correctly: attacks need not see the others."""
    model, (x, y) = sdp_model(f"{data}_cnn_a_adv"), sdp_images(data)
    correct = model(x).argmax(dim=1) == y
    return x[correct], y[correct], correct.nonzero().squeeze(1)


def fallen(data: str, name: str, **options: object) -> Tensor:
    """(n,) bool: which of `standing` one attack broke; points outside the threat do not count."""
    model, (x, y, ids), threat = sdp_model(f"{data}_cnn_a_adv"), standing(data), Linf(EPSILON[data])
    attack = create(name, **options)
    points = attack(model, x, y, threat, ids=ids)
    fell = (model(points).argmax(dim=1) != y) & threat.contains(x, points)
    if attack.minimal_norm:
        fell &= within(threat, Batch(x, y, Draws(0, ids)), points)
    return fell


def robust_accuracy(data: str, name: str, **options: object) -> float:
    """Percent of the 200 images that stay correct under one attack."""
    return 100 * float((~fallen(data, name, **options)).sum()) / 200


Strong = tuple[str, dict[str, object], float]
STRONG: dict[str, list[Strong]] = {
    "cifar": [
        ("apgd_t", {"steps": 50}, 50.5),
        ("fab", {"stop_within": True, "steps": 60}, 51.0),
        ("fmn", {"stop_within": True}, 51.5),
        ("odi", {"restarts": 4, "climb": "apgd"}, 51.5),
    ],
    "mnist": [
        ("multi_targeted", {}, 77.5),
        ("odi", {"restarts": 10}, 77.5),
        ("apgd", {"restarts": 3}, 78.0),
        ("fab", {"stop_within": True, "steps": 60}, 79.0),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize(("data", "bound"), [("cifar", 50.0), ("mnist", 77.0)])
def test_strong_attacks_reach_the_known_bound_together_and_none_passes_what_is_verified(data: str, bound: float) -> None:
    together = torch.zeros(len(standing(data)[0]), dtype=torch.bool)
    for name, options, at_most in STRONG[data]:
        fell = fallen(data, name, **options)
        assert 100 * float((~fell).sum()) / 200 <= at_most, name
        together |= fell
    assert VERIFIED[data] <= 100 * float((~together).sum()) / 200 <= bound


@pytest.mark.parametrize("loss", ["ce", "margin"])
def test_plain_pgd_stays_where_it_is_known_to_stay(loss: str) -> None:
    accuracy = robust_accuracy("cifar", "pgd", loss=loss, steps=20)
    assert 50.0 <= accuracy <= 52.5
    if loss == "ce":
        assert accuracy >= 51.5


CHEAP: list[tuple[str, dict[str, object]]] = [
    ("pcros", {"steps": 20}),
    ("quantized_gradient", {"steps": 40}),
    ("guided_local", {"steps": 20, "moves": 20}),
    ("logit_difference", {"steps": 40}),
    ("daa", {"steps": 20, "particles": 4}),
    ("daa_adaptive", {"steps": 10, "particles": 2}),
    ("deepfool", {}),
    ("interval", {"network": True, "moves": 1}),
]


@pytest.mark.parametrize(("name", "options"), CHEAP)
def test_no_attack_goes_below_the_verified_accuracy(name: str, options: dict[str, object]) -> None:
    if "network" in options:
        options = {**options, "network": sdp_model("cifar_cnn_a_adv")}
    assert VERIFIED["cifar"] <= robust_accuracy("cifar", name, **options) <= 54.0


def test_fgsm_spends_one_forward_and_one_backward_row_an_image() -> None:
    x, y, _ = standing("cifar")
    model = Counting(sdp_model("cifar_cnn_a_adv"))
    create("fgsm")(model, x, y, Linf(2 / 255))
    assert (model.forward_rows, model.backward_rows) == (len(x), len(x))


def test_pgd_spends_one_look_a_step_and_one_forward_row_at_the_end() -> None:
    x, y, _ = standing("cifar")
    model = Counting(sdp_model("cifar_cnn_a_adv"))
    create("pgd", steps=7)(model, x[:10], y[:10], Linf(1e-6))
    assert (model.forward_rows, model.backward_rows) == (10 * 8, 10 * 7)
