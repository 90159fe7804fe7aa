"""How a weights-only network is arranged to answer faster, and where: the same function, fewer passes over memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from evaluator.errors import InputError

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def folded(model: nn.Module) -> nn.Module:
    """The network, in eval mode, with batch norms folded into the convolutions before them.

    In eval mode a batch norm is a constant affine map of its channels; logits differ by rounding only. What follows no
    convolution stays as it is.
    """
    if not any(isinstance(module, _NORMS) for module in model.modules()):
        return model
    from torch.fx.experimental.optimization import fuse

    return fuse(model).eval()


class Placed(nn.Module):
    """A network on a device that its inputs need not be on: x (n, *shape) -> logits (n, K) on the device of x.

    device: "cuda" or "cuda:1"; convolutions run channels last and in full float32 there (no TF32).
    """

    def __init__(self, model: nn.Module, device: str) -> None:
        super().__init__()
        self._device = torch.device(device)
        self._model = model.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self._model(x.to(self._device))
        return logits.to(x.device)


def placed(model: nn.Module, device: str) -> nn.Module:
    """The network on that device; on "cpu" the network itself. Raises InputError where there is no such device."""
    if device == "cpu":
        return model
    try:
        return Placed(model, device)
    except (RuntimeError, AssertionError) as error:  # torch says either, by how it was built
        help_ = 'Use "cpu", or install a CUDA build of PyTorch and a driver that fits it.'
        raise InputError(f'there is no device "{device}" here.', where="device", help=help_) from error
