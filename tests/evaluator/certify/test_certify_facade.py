"""One call for every certificate, and manifests that ask for one."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from evaluator.certify import METHODS, certify
from evaluator.errors import InputError
from evaluator.manifests.certificate_specs import CertificateSpec
from evaluator.manifests.spec import DefenseManifest, parse_toml
from evaluator.threats import L2, Linf


def network() -> nn.Module:
    """A small classifier of 1 x 4 x 4 images."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3)).eval().requires_grad_(False)


def batch(net: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Ten images with the labels the network gives them."""
    x = torch.rand(10, 1, 4, 4)
    return x, net(x).argmax(dim=1)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_answers_in_the_same_form(method: str) -> None:
    net = network()
    x, y = batch(net)
    options = {"sigma": 0.1, "n": 1000} if method.startswith("smoothing") else {}
    threat = Linf(0.01) if method == "milp" else L2(0.02)
    found = certify(net, x, y, threat, method=method, seed=1, **options)
    assert len(found) == 10
    assert found.radius.shape == found.certified.shape == found.abstained.shape == found.samples.shape == (10,)
    assert int(found.certified.sum()) >= 5
    assert not bool((found.certified & found.abstained).any())
    assert bool((found.radius[found.certified] >= threat.epsilon - 1e-9).all())
    assert found.summary().startswith(found.method)


def test_what_cannot_be_computed_is_refused_before_the_model_is_asked() -> None:
    def never(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the model was called")

    x, y = torch.rand(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64)
    for options, message in (
        ({"method": "smoothing", "seed": 1, "radii": (0.1,)}, "sigma is missing"),
        ({"method": "smoothing", "sigma": 0.1, "radii": (0.1,)}, "secret seed"),
        ({"method": "smoothing", "sigma": 0.1, "seed": 1}, "needs radii"),
        ({"method": "smoothing", "sigma": 0.1, "seed": 1, "radii": (0.2, 0.1)}, "and increase"),
        ({"method": "smoothing", "sigma": 0.1, "seed": 1, "steps": 3}, "does not take steps"),
        ({"method": "smoothing", "sigma": 0.1, "seed": 1, "threat": Linf(0.1)}, "says nothing about linf"),
        ({"method": "crown"}, "needs a threat"),
        ({"method": "crown", "threat": Linf(0.1)}, "black box"),
        ({"method": "magic"}, "no certificate named"),
    ):
        with pytest.raises(InputError, match=message):
            certify(never, x, y, **options)  # type: ignore[arg-type]


def test_a_manifest_that_asks_for_smoothing_without_sigma_is_refused() -> None:
    text = b'name = "a"\nformat = "python"\nentry = "d.py"\n[certificate]\nmethod = "smoothing"\n'
    with pytest.raises(InputError, match=r"certificate.*needs sigma"):
        parse_toml(text, DefenseManifest, where="defense.toml")


def test_a_manifest_names_parameters_a_method_does_not_take() -> None:
    with pytest.raises(ValidationError, match='"ibp" does not take sigma'):
        CertificateSpec(method="ibp", sigma=0.5)
    assert CertificateSpec(method="bab", domains=5).parameters() == {"domains": 5}
    assert CertificateSpec(method="smoothing", sigma=0.25).parameters() == {"sigma": 0.25}


def test_layer_bounds_are_refused_for_code_whose_layers_cannot_be_read() -> None:
    text = b'name = "a"\nformat = "python"\nentry = "d.py"\n[certificate]\nmethod = "crown"\n'
    with pytest.raises(InputError, match='needs format "safetensors"'):
        parse_toml(text, DefenseManifest, where="defense.toml")
