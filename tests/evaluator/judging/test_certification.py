"""What a defense asks to have proven: computed by the platform, attacked, and void where an adversarial input refutes it."""

from __future__ import annotations

import base64
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluator.certify import Certificates
from evaluator.data.tensors import Examples
from evaluator.errors import InputError
from evaluator.judging import certification
from evaluator.judging.certification import Certified, Searched, certified, require
from evaluator.manifests.certificate_specs import CertificateSpec, CertifiedSpec, check_request
from evaluator.records.certificate_record import accuracies, alarm, join, pack_radii, unpack_radii
from evaluator.threats import L2, Linf

IBP = CertificateSpec(method="ibp")
SMOOTHING = CertificateSpec(method="smoothing", sigma=0.25, n=1000)


def linear(gap: float) -> nn.Module:
    """Two classes by the mean of four pixels: every x is gap (per pixel) away from the boundary at 0.5."""
    layer = nn.Linear(4, 2, bias=True).requires_grad_(False)
    layer.weight.copy_(torch.tensor([[1.0], [-1.0]]).expand(2, 4))
    layer.bias.copy_(torch.tensor([-2.0, 2.0]))
    return nn.Sequential(nn.Flatten(), layer).eval()


def images(*levels: float) -> Examples:
    """One grey 1 x 2 x 2 image per level, labelled by the side of 0.5 that it is on."""
    grey = torch.tensor(levels)
    x = grey[:, None, None, None].expand(-1, 1, 2, 2).contiguous()
    return Examples(torch.arange(len(levels)), x, (grey < 0.5).long(), 2)


def claims_all(model: object, x: Tensor, y: Tensor, **options: Any) -> Certificates:
    """A certificate with a bug: it proves everything, up to the largest radius."""
    everything = torch.ones(len(x), dtype=torch.bool)
    radius = torch.full((len(x),), options["radii"][-1], dtype=torch.float64)
    return Certificates("ibp", options["norm"], radius, everything, ~everything, everything.long(), 0.0)


def judged(
    model: nn.Module, data: Examples, threat: Linf | L2, spec: CertificateSpec, *, broken: tuple[int, ...] = (), **more: Any
) -> Certified:
    """The certificate of a model that the search broke at rows `broken`, in the middle of the grey scale."""
    points, robust = data.x.clone(), torch.ones(len(data), dtype=torch.bool)
    for row in broken:
        points[row], robust[row] = points[row].clamp(0.5, 0.5), False
    searched = Searched(torch.ones(len(data), dtype=torch.bool), robust, points)
    return certified(lambda: nullcontext(model), data, searched, threat, spec, 5, **more)


def test_a_certificate_is_computed_at_the_challenges_epsilon() -> None:
    data = images(0.95, 0.6, 0.4, 0.1)
    found = judged(linear(0.0), data, Linf(0.2), IBP, broken=(1, 2))
    assert found.bits.tolist() == [True, False, False, True]
    assert (found.record.accuracy, found.record.classifier, found.record.refuted) == (0.5, "itself", [])
    assert found.flags == []


def test_one_adversarial_input_inside_the_certified_set_voids_that_certificate_and_raises_an_alarm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(certification, "certify_at_radii", claims_all)
    data = images(0.95, 0.6, 0.4, 0.1)
    found = judged(linear(0.0), data, Linf(0.2), IBP, broken=(1,))
    assert found.bits.tolist() == [True, False, True, True]
    assert found.record.refuted == [1]
    witness = found.record.witnesses[0]
    assert witness.example == 1
    assert witness.distance == pytest.approx(0.1)
    assert np.frombuffer(base64.b64decode(witness.points), "<f4").tolist() == [0.5] * 4
    assert [(flag.check, flag.severity) for flag in found.flags] == [("certificate-refuted", "unverified")]
    assert "1 of 4 certified examples" in found.flags[0].evidence


def test_a_sound_certificate_of_the_smoothed_classifier_survives_its_own_attack() -> None:
    data = images(1.0, 0.9, 0.2, 0.0)
    found = judged(linear(0.0), data, L2(0.3), SMOOTHING, broken=(0, 1, 2, 3))
    assert found.bits.tolist() == [True, True, True, True]
    assert found.record.classifier == "smoothed"
    assert found.flags == []


def test_a_false_certificate_of_the_smoothed_classifier_is_refuted_by_a_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certification, "certify_at_radii", claims_all)
    data = images(1.0, 0.52, 0.0)  # only the second is within 0.3 of the boundary: 0.02 in each of four pixels
    found = judged(linear(0.0), data, L2(0.3), SMOOTHING)
    assert found.record.refuted == [1]
    assert found.bits.tolist() == [True, False, True]
    assert [flag.check for flag in found.flags] == ["certificate-refuted"]


def test_the_certificate_does_not_depend_on_how_examples_are_grouped() -> None:
    data = images(1.0, 0.75, 0.7, 0.3, 0.2, 0.0)
    whole = judged(linear(0.0), data, L2(0.3), SMOOTHING)
    parts = [judged(linear(0.0), data[i : i + 2], L2(0.3), SMOOTHING) for i in (0, 2, 4)]
    assert whole.bits.tolist() == [bit for part in parts for bit in part.bits.tolist()]


@pytest.mark.parametrize(
    ("spec", "threat", "model", "words"),
    [
        (SMOOTHING, Linf(0.1), None, "says nothing about linf perturbations"),
        (CertificateSpec(method="milp"), L2(0.1), linear(0.0), "says nothing about l2 perturbations"),
        (IBP, Linf(0.1), nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.GELU()).eval(), "gelu"),
        (IBP, Linf(0.1), None, "reads the network's layers"),
    ],
    ids=["smoothing-linf", "milp-l2", "unknown-layer", "no-layers"],
)
def test_what_cannot_be_proven_is_refused_before_any_compute(
    spec: CertificateSpec, threat: Linf | L2, model: nn.Module | None, words: str
) -> None:
    with pytest.raises(InputError) as refusal:
        require(spec, threat, model, (1, 2, 2))
    assert words in str(refusal.value).lower()


BOARD = CertifiedSpec(radii=(0.0, 0.1, 0.3, 0.8), alpha=0.001, samples=2000)


def test_a_certified_board_gets_a_radius_for_each_example_and_accuracy_at_each_of_its_radii() -> None:
    data = images(1.0, 0.6, 0.52, 0.2)  # 1.0, 0.2, 0.04 and 0.6 from the boundary
    for spec in (CertificateSpec(method="smoothing", sigma=0.5), CertificateSpec(method="lipschitz")):
        record = judged(linear(0.0), data, L2(0.3), spec, board=BOARD).record
        radius = unpack_radii(record.radius)
        assert radius[0] >= 0.8 - 1e-6
        assert 0.1 - 1e-6 <= radius[1] <= 0.2
        assert 0.0 <= radius[2] <= 0.04
        assert 0.3 - 1e-6 <= radius[3] <= 0.6
        assert record.accuracies == [1.0, 0.75, 0.5, 0.25]
        assert record.accuracy == 0.5
        assert record.average_radius == pytest.approx(float(radius.mean()))
    assert judged(linear(0.0), data, Linf(0.05), IBP, board=CertifiedSpec(radii=(0.0, 0.05, 0.2))).record.accuracies == [
        1.0,
        0.75,
        0.5,
    ]


def test_the_smoothed_classifier_has_clean_and_empirical_accuracy_of_its_own() -> None:
    data = images(1.0, 0.6, 0.52, 0.2)
    data.y[0] = 1 - data.y[0]  # it gets the first wrong, and two others are within reach
    record = judged(linear(0.0), data, L2(0.3), SMOOTHING, board=BOARD).record
    assert record.clean_bits == [0, 1, 1, 1]
    assert record.empirical_bits == [0, 0, 0, 1]
    assert (record.bits, record.refuted) == ([0, 0, 0, 1], [])


def test_a_certificate_beyond_epsilon_is_attacked_inside_its_own_radius(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certification, "certify_at_radii", claims_all)
    data = images(1.0, 0.8)  # 1.0 and 0.6 from the boundary: a certificate of 0.8 is false for the second alone
    for spec in (SMOOTHING, CertificateSpec(method="lipschitz")):
        record = judged(linear(0.0), data, L2(0.3), spec, board=BOARD).record
        assert record.refuted == [1]
        assert 0.6 <= record.witnesses[0].distance <= 0.8 + 1e-6
        assert record.empirical_bits == [1, 1]  # at epsilon itself it stands


def test_chance_is_allowed_some_witnesses_against_smoothing_and_none_against_a_proof() -> None:
    record = judged(linear(0.0), images(1.0, 0.0), L2(0.3), SMOOTHING).record
    many = record.model_copy(update={"bits": [1] * 500, "expected_false": 0.5, "refuted": [7, 9]})
    assert [flag.severity for flag in alarm(many)] == ["info"]
    assert "Chance alone allows" in alarm(many)[0].evidence
    beyond = many.model_copy(update={"refuted": [7, 9, 11, 12, 13, 14]})
    assert [flag.severity for flag in alarm(beyond)] == ["unverified"]
    assert [flag.severity for flag in alarm(many.model_copy(update={"expected_false": 0.0}))] == ["unverified"]
    # the same six spread over shards of which none is beyond chance by itself
    parts = [many.model_copy(update={"bits": [1] * 5, "expected_false": 0.005, "refuted": [i]}) for i in range(6)]
    joined = join(parts)
    assert joined is not None
    assert [flag.severity for flag in alarm(joined)] == ["unverified"]


def test_packed_radii_never_exceed_what_was_proven() -> None:
    exact = [0.1, 1 / 3, -1.0, 0.0, 2.25, 0.7]
    packed = unpack_radii(pack_radii(exact))
    assert all(float(kept) <= proven for kept, proven in zip(packed, exact, strict=True))
    assert all(abs(float(kept) - proven) < 1e-6 for kept, proven in zip(packed, exact, strict=True))
    assert accuracies(packed, [0.0, 0.1, 0.7]) == [5 / 6, 4 / 6, 2 / 6]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (CertificateSpec(method="smoothing", sigma=0.25, alpha=0.01), "certifies at alpha 0.001 or less"),
        (CertificateSpec(method="smoothing", sigma=0.25, n=3000), "at most 2,000 samples"),
        (CertificateSpec(method="milp"), "says nothing about l2"),
    ],
    ids=["alpha", "samples", "threat"],
)
def test_a_request_that_a_board_does_not_take_is_refused(spec: CertificateSpec, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_request(spec, threat="l2", board=BOARD)


def test_a_board_gives_its_alpha_and_samples_to_a_request_that_names_none() -> None:
    asked = check_request(CertificateSpec(method="smoothing", sigma=0.5), threat="l2", board=BOARD)
    assert (asked.alpha, asked.n) == (0.001, 2000)
    assert check_request(SMOOTHING, threat="l2", board=BOARD).n == 1000


def test_a_network_too_large_for_milp_is_refused_before_any_compute() -> None:
    wide = nn.Sequential(nn.Flatten(), nn.Linear(4, 25_000), nn.ReLU(), nn.Linear(25_000, 2)).eval().requires_grad_(False)
    with pytest.raises(InputError, match="MILP is for at most 20,000"):
        require(CertificateSpec(method="milp"), Linf(0.1), wide, (1, 2, 2))
