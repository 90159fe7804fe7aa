"""A weights-only network is arranged to answer faster: it must stay the same function, on whatever device."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from evaluator.defenses.architectures import build, find, names
from evaluator.errors import InputError
from evaluator.host.placing import Placed, folded, placed

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def lived(name: str) -> nn.Module:
    """The architecture with statistics as training leaves them, which a fresh network does not have."""
    torch.manual_seed(0)
    model = build(name).double().eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, NORMS):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.3, 3)
            module.weight.uniform_(0.5, 2)
            module.bias.normal_(0, 0.3)
    return model


@pytest.mark.parametrize("name", names())
def test_folding_leaves_no_batch_norm_and_the_same_function(name: str) -> None:
    model = lived(name)
    faster = folded(model)
    assert not [module for module in faster.modules() if isinstance(module, NORMS)]
    x = torch.rand(3, *find(name).shape, dtype=torch.float64).requires_grad_(True)
    here, there = model(x), faster(x)
    assert torch.allclose(here, there, atol=1e-9 * float(here.detach().abs().max()))
    slopes = [torch.autograd.grad(logits.square().sum(), x)[0] for logits in (here, there)]
    assert torch.allclose(*slopes, atol=1e-9 * float(slopes[0].abs().max()))


def test_a_network_on_a_device_answers_where_its_inputs_are() -> None:
    model = lived("cifar-resnet8").float()
    x = torch.rand(4, 3, 32, 32).requires_grad_(True)
    here, there = model(x), Placed(model, "cpu")(x)
    assert torch.allclose(here, there, atol=1e-4 * float(here.detach().abs().max()))
    (slope,) = torch.autograd.grad(there.sum(), x)
    assert (slope.shape, slope.device) == (x.shape, x.device)
    assert placed(model, "cpu") is model


def test_a_device_that_is_not_there_is_an_error_that_says_so() -> None:
    with pytest.raises(InputError, match='no device "cuda:99"'):
        placed(build("mnist-cnn"), "cuda:99")


if torch.cuda.is_available():

    def test_on_cuda_the_same_network_answers_the_same() -> None:
        model = lived("cifar-resnet8").float()
        x = torch.rand(4, 3, 32, 32)
        expected = model(x)
        found = placed(model, "cuda")(x)
        assert found.device == x.device
        assert torch.allclose(expected, found, atol=1e-4 * float(expected.abs().max()))
