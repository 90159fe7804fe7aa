"""What a defense asks to have proven: computed by the platform, attacked, and void where an adversarial input refutes it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from evaluator import certification
from evaluator.certification import certified, require
from evaluator.certify import Certificates
from evaluator.data.tensors import Examples
from evaluator.errors import InputError
from evaluator.spec import CertificateSpec
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


def claims_all(model: object, x: Tensor, y: Tensor, threat: object, **options: object) -> Certificates:
    """A certificate with a bug: it proves everything."""
    everything = torch.ones(len(x), dtype=torch.bool)
    return Certificates("ibp", "linf", everything.double(), everything, ~everything, everything.long(), 0.0)


def test_a_certificate_is_computed_at_the_challenges_epsilon() -> None:
    data = images(0.95, 0.6, 0.4, 0.1)
    robust = torch.tensor([True, False, False, True])
    found = certified(linear(0.0), data, robust, Linf(0.2), IBP, seed=0)
    assert found.bits.tolist() == [True, False, False, True]
    assert (found.record.accuracy, found.record.classifier, found.record.refuted) == (0.5, "itself", [])
    assert found.flags == []


def test_one_adversarial_input_inside_the_certified_set_voids_that_certificate_and_raises_an_alarm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(certification, "certify", claims_all)
    data = images(0.95, 0.6, 0.4, 0.1)
    found = certified(linear(0.0), data, torch.tensor([True, False, True, True]), Linf(0.2), IBP, seed=0)
    assert found.bits.tolist() == [True, False, True, True]
    assert found.record.refuted == [1]
    assert [(flag.check, flag.severity) for flag in found.flags] == [("certificate-refuted", "unverified")]
    assert "1 of 4 certified examples" in found.flags[0].evidence


def test_a_sound_certificate_of_the_smoothed_classifier_survives_its_own_attack() -> None:
    data = images(1.0, 0.9, 0.2, 0.0)
    found = certified(linear(0.0), data, torch.zeros(4, dtype=torch.bool), L2(0.3), SMOOTHING, seed=5)
    assert found.bits.tolist() == [True, True, True, True]
    assert found.record.classifier == "smoothed"
    assert found.flags == []


def test_a_false_certificate_of_the_smoothed_classifier_is_refuted_by_a_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certification, "certify", claims_all)
    data = images(1.0, 0.52, 0.0)  # only the second is within 0.3 of the boundary: 0.02 in each of four pixels
    found = certified(linear(0.0), data, torch.ones(3, dtype=torch.bool), L2(0.3), SMOOTHING, seed=5)
    assert found.record.refuted == [1]
    assert found.bits.tolist() == [True, False, True]
    assert [flag.check for flag in found.flags] == ["certificate-refuted"]


def test_the_certificate_does_not_depend_on_how_examples_are_grouped() -> None:
    data = images(1.0, 0.75, 0.7, 0.3, 0.2, 0.0)
    standing = torch.ones(6, dtype=torch.bool)
    whole = certified(linear(0.0), data, standing, L2(0.3), SMOOTHING, seed=5)
    parts = [certified(linear(0.0), data[i : i + 2], standing[:2], L2(0.3), SMOOTHING, seed=5) for i in (0, 2, 4)]
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
