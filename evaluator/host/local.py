"""A weights-only network in this process, held to what a host is held to: whose failures they are, and how much it may keep."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from evaluator.errors import RedoubtError, SubmissionError
from evaluator.host.graphs import probed, room
from evaluator.host.proxy import RemoteModel
from evaluator.host.serve import Host, out_of_memory
from evaluator.host.wire import Message
from evaluator.records.report import SubmissionReason

ROWS = 250  # images in the largest pass with a gradient that an evaluation asks for


class Blamed(nn.Module):
    """The same network, whose exceptions are the submission's; what ends a pass from outside stays what it is.

    No memory left is no fault of a network's in a process that has no limit of its own.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = model

    def forward(self, x: Tensor) -> Tensor:
        try:
            return self._model(x)  # type: ignore[no-any-return]
        except RedoubtError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise
            what = f"the network failed on {len(x)} images of {tuple(x.shape[1:])}: {type(error).__name__}: {error}"
            raise SubmissionError(SubmissionReason.RAISED, what) from error


class SameProcess:
    """`evaluator.host.proxy.Line` to a host that is no other process."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def ask(self, request: Message, *, limit: int, doing: str) -> Message:
        return _detached(self._host.reply(_detached(request)))


def _detached(message: Message) -> Message:
    """What the wire would carry: neither side's graph, nor a mark that either side leaves on a tensor, reaches the other."""
    return Message(message.op, message.fields, {name: tensor.detach() for name, tensor in message.tensors.items()})


def in_process(model: nn.Module, *, shape: tuple[int, int, int], classes: int, memory_mb: int) -> nn.Module:
    """The network as an evaluation asks it. shape: (C, H, W) of an image.

    Where the graph of a whole pass is larger than a host of `memory_mb` MiB has room for, it is asked in the parts that a host
    would ask it in. So both lanes give the same bits.
    """
    blamed, allowed = Blamed(model), room(memory_mb, model)
    if probed(model, torch.full((ROWS, *shape), 0.5)) * ROWS <= allowed:
        return blamed
    return RemoteModel(SameProcess(Host(blamed, room=allowed)), classes=classes)
