"""The program inside the model sandbox: `python -m evaluator.host.serve FOLDER`. Answers logits and VJPs on stdin/stdout.

It knows nothing worth stealing: no label, no index, no attack name. Everything it says is checked by the scorer.
Requests: load -> ready | failed; forward(x, keep, backward, seed) -> logits; vjp(id, cotangent) -> gradient | expired | failed.
"""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn

from evaluator.errors import SubmissionError
from evaluator.host.backward import Backwards, declared_substitutes
from evaluator.host.computing import settle
from evaluator.host.inspection import inspect
from evaluator.host.load import load_submission, read_manifest, tail
from evaluator.host.seeding import seeded
from evaluator.wire import Message, receive, send

KEPT_GRAPHS = 8  # forward passes whose graph is held for a first VJP; older ones are recomputed by the proxy
REQUEST_BYTES = 1 << 32
FOREVER = 10.0**9


class Pipes:
    """The two pipe ends as a `evaluator.wire.Transport`; the sandbox, not this process, keeps the deadlines."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader, self._writer = os.fdopen(reader, "rb"), os.fdopen(writer, "wb")

    def send(self, data: bytes | bytearray | memoryview, *, timeout: float) -> None:
        self._writer.write(data)
        self._writer.flush()

    def receive(self, size: int, *, timeout: float) -> bytearray:
        data = bytearray(size)
        view, got = memoryview(data), 0
        while got < size:
            read = self._reader.readinto(view[got:])
            if not read:
                raise EOFError
            got += read
        return data


class Host:
    """One loaded submission and the graphs of its last forward passes.

    A graph that has been differentiated is held only until the next forward pass (Jacobians ask it several times), so
    that the usual forward, backward, forward, ... needs the memory of one graph.
    """

    def __init__(self, model: nn.Module, backwards: Backwards | None = None) -> None:
        self._model, self._backwards = model, backwards or Backwards(model, {})
        self._graphs: OrderedDict[str, tuple[Tensor, Tensor]] = OrderedDict()
        self._differentiated: set[str] = set()

    def answer(self, request: Message) -> Message:
        """The reply to one request; an exception of the submission becomes a `failed` reply."""
        try:
            match request.op:
                case "forward":
                    return self._forward(request)
                case "vjp":
                    return self._vjp(request)
                case "inspect":
                    return Message("inspected", {"inspection": inspect(self._model, request.tensors["x"]).model_dump_json()})
                case other:
                    return Message("failed", {"reason": "protocol", "detail": f"unknown request {other}"})
        except Exception as error:
            return Message("failed", {"reason": "raised", "detail": tail(error)})

    def _forward(self, request: Message) -> Message:
        x, seed = request.tensors["x"], request.fields.get("seed")
        if "keep" not in request.fields:
            with torch.no_grad(), seeded(seed):
                return Message("logits", {}, {"logits": _tensor(self._model(x))})
        for spent in self._differentiated:
            self._graphs.pop(spent, None)
        self._differentiated.clear()
        with torch.enable_grad(), seeded(seed), self._backwards.use(request.fields.get("backward", "own")):
            leaf = x.requires_grad_(True)
            logits = _tensor(self._model(leaf))
        self._graphs[request.fields["keep"]] = (leaf, logits)
        while len(self._graphs) > KEPT_GRAPHS:
            self._graphs.popitem(last=False)
        return Message("logits", {}, {"logits": logits})

    def _vjp(self, request: Message) -> Message:
        kept = self._graphs.get(request.fields["keep"])
        if kept is None:
            return Message("expired")
        leaf, logits = kept
        if not logits.requires_grad:
            return Message("gradient", {}, {"gradient": torch.zeros_like(leaf)})
        self._differentiated.add(request.fields["keep"])
        (gradient,) = torch.autograd.grad(logits, leaf, request.tensors["cotangent"], retain_graph=True, allow_unused=True)
        return Message("gradient", {}, {"gradient": torch.zeros_like(leaf) if gradient is None else gradient})


def _tensor(answer: object) -> Tensor:
    if not isinstance(answer, Tensor):
        raise TypeError(f"forward() returned a {type(answer).__name__}; it must return a tensor of logits")
    return answer


def private_pipes() -> Pipes:
    """Moves the stream to private descriptors: what the submission prints goes to its log, what it reads is empty."""
    reader, writer = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return Pipes(reader, writer)


def main(folder: str) -> int:
    """Serves until the stream closes."""
    pipes = private_pipes()
    settle(int(os.environ.get("OMP_NUM_THREADS", "1")))
    receive(pipes, limit=REQUEST_BYTES, timeout=FOREVER)
    try:
        model = load_submission(Path(folder))
        substitutes = declared_substitutes(Path(folder), read_manifest(Path(folder)), model)
        host = Host(model, Backwards(model, substitutes))
    except SubmissionError as error:
        send(pipes, Message("failed", {"reason": error.reason, "detail": str(error)}), timeout=FOREVER)
        return 1
    send(pipes, Message("ready"), timeout=FOREVER)
    while True:
        try:
            request = receive(pipes, limit=REQUEST_BYTES, timeout=FOREVER)
        except EOFError:
            return 0
        send(pipes, host.answer(request), timeout=FOREVER)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
