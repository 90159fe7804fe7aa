"""Weights-only submissions: the named architectures, and what is said of weights that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support import sdp_images, sdp_model, shared_data, trades_smallcnn
from torch import Tensor

from evaluator.data import load
from evaluator.defenses import architecture_table
from evaluator.defenses.architectures import build, find, load_weights, names
from evaluator.errors import InputError
from evaluator.manifests import architecture_shapes


def weights(**changed: Tensor) -> dict[str, Tensor]:
    return {**build("mnist-cnn").state_dict(), **changed}


def refusal(path: Path, tensors: dict[str, Tensor]) -> str:
    save_file(tensors, path)
    with pytest.raises(InputError) as caught:
        load_weights("mnist-cnn", path)
    return str(caught.value)


@pytest.mark.parametrize("name", names())
def test_every_architecture_maps_its_inputs_to_logits_and_has_a_gradient(name: str) -> None:
    entry = find(name)
    x = torch.rand(2, *entry.shape, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    logits = build(name).eval()(x)
    assert logits.shape == (2, entry.classes)
    (gradient,) = torch.autograd.grad(logits.sum(), x)
    assert float(gradient.abs().sum()) > 0


@pytest.mark.parametrize("name", names())
def test_every_architecture_saves_and_loads_its_own_weights(name: str, tmp_path: Path) -> None:
    network = build(name).eval()
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    loaded = load_weights(name, tmp_path / "weights.safetensors")
    x = torch.rand(3, *find(name).shape, generator=torch.Generator().manual_seed(0))
    assert not loaded.training
    assert torch.equal(loaded(x), network(x))


def test_an_unknown_architecture_is_reported_the_nearest_ones() -> None:
    with pytest.raises(InputError, match=r'no architecture named "mnist-cn"\. Nearest: mnist-cnn, mnist-cnn-a'):
        build("mnist-cn")


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["mnist_cnn_a_adv", "cifar_cnn_a_adv", "cifar_cnn_a_mix"])
def test_cnn_a_is_the_published_one(name: str) -> None:
    dataset = name.split("_")[0]
    network = load_weights(f"{dataset}-cnn-a", shared_data() / "models" / f"sdp_{name}.safetensors")
    x, _ = sdp_images(dataset)
    assert torch.equal(network(x), sdp_model(name)(x))


@pytest.mark.nightly
def test_trades_smallcnn_is_the_published_one() -> None:
    network = load_weights("trades-smallcnn", shared_data() / "models" / "trades_mnist_smallcnn.safetensors")
    data = load("mnist", "test")
    x = data.images[:200].float() / 255
    with torch.no_grad():
        assert torch.equal(network(x), trades_smallcnn()(x))
        assert int((network(x).argmax(dim=1) == data.labels[:200]).sum()) >= 198


def test_a_missing_and_an_unexpected_tensor_are_named(tmp_path: Path) -> None:
    tensors = weights(extra=torch.zeros(1))
    del tensors["dense2.bias"]
    words = refusal(tmp_path / "weights.safetensors", tensors)
    assert words.startswith('weights.safetensors: does not fit mnist-cnn: it lacks "dense2.bias" and has unexpected "extra".')
    assert '"conv1.bias", "conv1.weight"' in words


def test_weights_saved_from_a_data_parallel_wrapper_are_shown_what_to_remove(tmp_path: Path) -> None:
    words = refusal(tmp_path / "w.safetensors", {f"module.{name}": value for name, value in weights().items()})
    assert 'Remove the prefix "module."' in words


def test_a_wrong_shape_is_named_with_the_right_one(tmp_path: Path) -> None:
    words = refusal(tmp_path / "w.safetensors", weights(**{"dense2.bias": torch.zeros(11)}))
    assert 'tensor "dense2.bias" has shape [11]; mnist-cnn needs [10].' in words


def test_half_precision_weights_are_reported_to_be_floats(tmp_path: Path) -> None:
    words = refusal(tmp_path / "w.safetensors", {name: value.half() for name, value in weights().items()})
    assert "is F16; mnist-cnn needs F32. Call model.float() before saving." in words


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    words = refusal(tmp_path / "w.safetensors", weights(**{"dense2.bias": torch.full((10,), value)}))
    assert 'tensor "dense2.bias" holds NaN or infinity.' in words


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_pickle_is_refused_unread_with_the_way_out(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    torch.save(build("mnist-cnn").state_dict(), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError) as caught:
        load_weights("mnist-cnn", path)
    assert "is a torch pickle, which could run code when it is read." in str(caught.value)
    assert "safetensors.torch.save_file(model.state_dict()" in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"not weights", b"\xff" * 100, b"\x08" + bytes(7) + b"{}      "])
def test_a_file_that_is_no_safetensors_is_an_input_error(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(data)
    with pytest.raises(InputError, match=r"^w.safetensors: "):
        load_weights("mnist-cnn", tmp_path / "w.safetensors")


def test_a_weights_file_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"weights.safetensors: is not in the submission\."):
        load_weights("mnist-cnn", tmp_path / "weights.safetensors")


def test_the_table_that_is_read_without_torch_says_what_the_networks_are() -> None:
    help = "run python -m evaluator.defenses.architecture_table"
    assert architecture_table.text() == architecture_shapes.TABLE.read_text(), help
