"""The architectures that a weights-only submission can name, and how its safetensors file becomes one of them.

Every network takes (n, C, H, W) float32 in [0, 1] and returns logits; input normalisation is inside. Nothing submitted is
executed: a weights file is compared with the architecture tensor by tensor, and refused with a reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from evaluator.defenses.networks.cnn_a import cifar_cnn_a, mnist_cnn_a
from evaluator.defenses.networks.denoised import cifar_denoised_resnet8, mnist_denoised_cnn
from evaluator.defenses.networks.mnist_cnn import mnist_cnn
from evaluator.defenses.networks.resnet import cifar_resnet8, cifar_resnet18
from evaluator.defenses.networks.trades_smallcnn import TradesSmallCNN
from evaluator.errors import InputError
from evaluator.manifests import architecture_shapes

_CONVERT = 'Convert it with safetensors.torch.save_file(model.state_dict(), "weights.safetensors") and submit that file.'
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # torch.save's zip archive; bare pickles


@dataclass(frozen=True)
class Architecture:
    """One entry of the registry. shape: (C, H, W) of one input; classes: K; summary: one line for people."""

    name: str
    summary: str
    shape: tuple[int, int, int]
    classes: int
    factory: Callable[[], nn.Module]


_MNIST, _CIFAR = (1, 28, 28), (3, 32, 32)
_ENTRIES = {
    entry.name: entry
    for entry in (
        Architecture("mnist-cnn", "2 strided convolutions, 2 dense layers, 348 k weights", _MNIST, 10, mnist_cnn),
        Architecture("mnist-denoised-cnn", "a denoiser before mnist-cnn, 378 k weights", _MNIST, 10, mnist_denoised_cnn),
        Architecture("mnist-cnn-a", "CNN-A of Dathathri et al. 2020, 166 k weights", _MNIST, 10, mnist_cnn_a),
        Architecture("trades-smallcnn", "SmallCNN of Zhang et al. 2019, 312 k weights", _MNIST, 10, TradesSmallCNN),
        Architecture("cifar-cnn-a", "CNN-A of Dathathri et al. 2020, 215 k weights", _CIFAR, 10, cifar_cnn_a),
        Architecture(
            "cifar-denoised-resnet8", "a denoiser before cifar-resnet8, 338 k weights", _CIFAR, 10, cifar_denoised_resnet8
        ),
        Architecture("cifar-resnet8", "residual network of 8 layers, 309 k weights", _CIFAR, 10, cifar_resnet8),
        Architecture("cifar-resnet18", "residual network of 18 layers, 11.2 M weights", _CIFAR, 10, cifar_resnet18),
    )
}


def names() -> list[str]:
    """The names that `architecture = "..."` may have, sorted."""
    return sorted(_ENTRIES)


def find(name: str) -> Architecture:
    """The architecture of that name. Raises InputError naming the nearest ones."""
    if name not in _ENTRIES:
        raise architecture_shapes.unknown(name, _ENTRIES)
    return _ENTRIES[name]


def build(name: str) -> nn.Module:
    """A freshly initialised network of that architecture. Raises InputError for an unknown name."""
    return find(name).factory()


def load_weights(architecture: str, path: Path) -> nn.Module:
    """The architecture with the weights of a safetensors file, in eval mode.

    Raises InputError for an unknown architecture, a file that is not safetensors (the help says how a torch pickle becomes
    one), missing or unexpected tensors, a wrong shape or dtype, and weights that are not finite.
    """
    network = build(architecture)
    expected: dict[str, Tensor] = network.state_dict()
    _refuse_pickle(path)
    try:
        with safe_open(path, framework="pt") as stored:
            architecture_shapes.check_weights(architecture, _headers(stored), where=path.name)
            weights = {name: stored.get_tensor(name) for name in expected}
    except (SafetensorError, OSError) as error:
        raise InputError(f"is not a safetensors file ({error}).", where=path.name, help=_CONVERT) from error
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f'tensor "{name}" holds NaN or infinity.', where=path.name, help="Save finite weights.")
    network.load_state_dict(weights)
    return network.eval()


def _refuse_pickle(path: Path) -> None:
    if not path.is_file():
        raise InputError("is not in the submission.", where=path.name, help="Name the weights file in defense.toml.")
    with path.open("rb") as stream:
        head = stream.read(8)
    if head.startswith(_PICKLES):
        raise InputError("is a torch pickle, which could run code when it is read.", where=path.name, help=_CONVERT)


def _headers(stored: Any) -> dict[str, architecture_shapes.Tensor]:
    """What an open safetensors file says of its tensors."""
    slices = {name: stored.get_slice(name) for name in stored.keys()}  # noqa: SIM118 - no mapping
    return {name: architecture_shapes.Tensor(entry.get_dtype(), tuple(entry.get_shape())) for name, entry in slices.items()}
