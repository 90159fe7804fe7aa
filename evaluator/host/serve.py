"""The program inside the model sandbox: `python -m evaluator.host.serve FOLDER`. Answers logits and VJPs on stdin/stdout.

It knows nothing worth stealing: no label, no index, no attack name. Everything it says is checked by the scorer.
Requests: load(seed) -> ready | failed | spent; forward(x, keep, backward, seed) -> logits; vjp(keep, cotangent) -> gradient |
expired. Another load means another life: the model is loaded again in a process that knows nothing of the one before
(`evaluator.host.forking`), or "spent" where this sandbox cannot give one.
Every pass is made with its graph, whether or not a gradient will be asked. The code that serves one is the same for all. What
it holds (names without a meaning, the last graphs) says nothing of who asks.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from evaluator.errors import SubmissionError
from evaluator.host.backward import Backwards, declared_substitutes
from evaluator.host.computing import settle, without_compilers
from evaluator.host.failure_text import failure_text, message
from evaluator.host.forking import Lives
from evaluator.host.graphs import Graphs, room
from evaluator.host.inspection import inspect
from evaluator.host.load import load_submission, read_manifest
from evaluator.host.seeding import seed_all, seeded
from evaluator.host.wire import Message, encode, receive, send, send_encoded
from evaluator.records.report import SubmissionReason

MEMORY_MB = "REDOUBT_MEMORY_MB"  # in the environment: what the sandbox allows
REQUEST_BYTES = 1 << 32
FOREVER = 10.0**9


class Pipes:
    """The two pipe ends as a `evaluator.host.wire.Transport`; the sandbox, not this process, keeps the deadlines."""

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

    folder: where the submission's files are, for reports of its exceptions. room: bytes that graphs may keep, None for
    as many as there are.
    """

    def __init__(
        self, model: nn.Module, backwards: Backwards | None = None, *, folder: Path | None = None, room: int | None = None
    ) -> None:
        self._model, self._backwards, self._folder = model, backwards or Backwards(model, {}), folder or Path("/submission")
        self._graphs = Graphs(model, room)

    def encoded(self, request: Message) -> bytes:
        """The reply to one request as `host.wire` sends it; what the wire cannot carry is the submission's failure."""
        try:
            return encode(self.answer(request))
        except Exception as error:
            return encode(self._failed(error))

    def answer(self, request: Message) -> Message:
        """The reply to one request; an exception of the submission becomes a `failed` reply."""
        try:
            return self.reply(request)
        except Exception as error:
            return self._failed(error)

    def _failed(self, error: Exception) -> Message:
        reason = SubmissionReason.MEMORY if out_of_memory(error) else SubmissionReason.RAISED
        return Message("failed", {"reason": reason, "detail": failure_text(error, self._folder)})

    def reply(self, request: Message) -> Message:
        """The reply to one request. Raises whatever the submission raises."""
        match request.op:
            case "forward":
                return self._forward(request)
            case "vjp":
                gradient = self._graphs.vjp(request.fields["keep"], request.tensors["cotangent"])
                return Message("expired") if gradient is None else Message("gradient", {}, {"gradient": gradient})
            case "inspect":
                return Message("inspected", {"inspection": inspect(self._model, request.tensors["x"]).model_dump_json()})
            case "load":
                return Message("spent")
            case other:
                return Message("failed", {"reason": "protocol", "detail": f"unknown request {other}"})

    def _forward(self, request: Message) -> Message:
        x, seed = request.tensors["x"], request.fields.get("seed")
        backward = request.fields.get("backward", "own")

        def run(leaf: Tensor) -> Tensor:
            with torch.enable_grad(), seeded(seed), self._backwards.use(backward):
                return _logits(self._model(leaf.clone()))  # a copy, which forward() may change in place

        return Message("logits", {}, {"logits": self._graphs.forward(request.fields["keep"], x, run, kind=backward)})


def _logits(answer: object) -> Tensor:
    """What forward() returned, where it is an ordinary tensor: that much the wire can carry."""
    if not isinstance(answer, Tensor):
        raise TypeError(f"forward() returned a {type(answer).__name__}; it must return a tensor of logits")
    if answer.layout is not torch.strided or answer.is_quantized or answer.device.type == "meta":
        raise TypeError(f"forward() returned a tensor of layout {answer.layout}; it must return an ordinary tensor of logits")
    return answer.as_subclass(Tensor)


def out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed, which torch tells by a plain RuntimeError."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in message(error)


def private_pipes() -> Pipes:
    """The private stream as `Pipes`."""
    return Pipes(*private_descriptors())


def private_descriptors() -> tuple[int, int]:
    """Moves the stream to private descriptors: what the submission prints goes to its log, what it reads is empty."""
    reader, writer = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return reader, writer


def main(folder: str) -> int:
    """Serves until the stream closes."""
    without_compilers()
    reader, writer = private_descriptors()
    if Lives.possible():
        return Lives(reader, writer, lambda asked, said, seed: serve(Pipes(asked, said), Path(folder), seed)).run()
    pipes = Pipes(reader, writer)
    seed = receive(pipes, limit=REQUEST_BYTES, timeout=FOREVER).fields.get("seed")
    return serve(pipes, Path(folder), None if seed is None else int(seed))


def serve(pipes: Pipes, folder: Path, seed: int | None) -> int:
    """Loads the submission, says so, and answers until the stream closes. seed: of the generators, None as they are."""
    settle(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if seed is not None:
        seed_all(seed)
    try:
        host = _loaded(folder)
    except SubmissionError as error:
        send(pipes, Message("failed", {"reason": error.reason, "detail": str(error)}), timeout=FOREVER)
        return 1
    except Exception as error:
        detail = f"loading failed: {failure_text(error, folder)}"
        failed = Message("failed", {"reason": SubmissionReason.LOAD, "detail": detail})
        send(pipes, failed, timeout=FOREVER)
        return 1
    send(pipes, Message("ready"), timeout=FOREVER)
    while True:
        try:
            request = receive(pipes, limit=REQUEST_BYTES, timeout=FOREVER)
        except EOFError:
            return 0
        send_encoded(pipes, host.encoded(request), timeout=FOREVER)


def _loaded(folder: Path) -> Host:
    model = load_submission(folder)
    backwards = Backwards(model, declared_substitutes(folder, read_manifest(folder), model))
    allowed = os.environ.get(MEMORY_MB)
    return Host(model, backwards, folder=folder, room=None if allowed is None else room(int(allowed), model))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
