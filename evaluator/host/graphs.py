"""The graphs of a model's last forward passes, held for vector-Jacobian products in bounded memory.

What a pass keeps for its gradient is counted while it is made. A pass that would keep more than there is room for is asked in
parts of equal size instead. Their answers are one answer. Their graphs are made again when the gradient is asked for, one
at a time, from the same random state. How large the parts are depends on the model and the room alone, never on the clock or
on what else the machine does, so that a verdict can be replayed.
"""

from __future__ import annotations

import gc
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from evaluator.host.seeding import RandomState

KEPT = 32  # passes whose graph is held for a first VJP; older ones are recomputed by the proxy
_PROBED = 4  # rows of the pass that tells what a row keeps, where a whole pass is too large
_OWN_BYTES = 640 << 20  # interpreter and libraries, workspaces, and what the allocator keeps for the next pass
_KEPT_SHARE = 0.9  # of the rest
_PASSING = 3  # of the largest tensors that a pass keeps, for those it makes and lets go

Run = Callable[[Tensor], Tensor]  # a leaf -> logits with their graph


def room(memory_mb: int, model: nn.Module) -> int:
    """How many bytes graphs may keep in a host that is allowed `memory_mb` MiB."""
    weights = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    return max(memory_mb * 2**20 // 8, int((memory_mb * 2**20 - _OWN_BYTES - weights) * _KEPT_SHARE))


def probed(model: nn.Module, x: Tensor, run: Run | None = None) -> float:
    """How many bytes the graph of one row of x (n, *shape) keeps: `run`'s, or the model's own."""
    few = x[:_PROBED].clone().requires_grad_(True)
    count = _Count(model, None)
    with torch.enable_grad(), count.counting():
        (run or model)(few)
    return count.bytes / len(few)


@dataclass(frozen=True)
class _Part:
    """Rows of a pass, and the random state that they were answered from."""

    x: Tensor
    state: RandomState


@dataclass(frozen=True)
class _Pass:
    """A forward pass: with its one graph, or in parts whose graphs are made again. kept: bytes that its graph holds."""

    run: Run
    leaf: Tensor
    logits: Tensor | None
    parts: tuple[_Part, ...]
    kept: int


class Graphs:
    """room: bytes that the graphs may keep together, None for as much as there is.

    A graph that has been differentiated is held only until the next forward pass (Jacobians ask it several times). So
    the usual forward, backward, forward, ... needs the memory of one graph.
    """

    def __init__(self, model: nn.Module, room: int | None) -> None:
        self._model, self._room = model, room
        self._passes: OrderedDict[str, _Pass] = OrderedDict()
        self._differentiated: set[str] = set()
        self._row_bytes: dict[str, float] = {}

    def forward(self, name: str, x: Tensor, run: Run, *, kind: str) -> Tensor:
        """The logits of x (n, *shape), whose graph is held under `name`. kind: passes of one kind keep as much a row."""
        self._let_go()  # in a frame of its own: no variable here may tell code that is called below what came before
        done, logits = self._whole_or_parts(x, run, kind)
        self._passes[name] = done
        while len(self._passes) > KEPT:
            self._passes.popitem(last=False)
        return logits

    def vjp(self, name: str, cotangent: Tensor) -> Tensor | None:
        """(n, *shape) the gradient of (logits * cotangent).sum(); None when the pass is no longer held."""
        held = self._passes.get(name)
        if held is None:
            return None
        self._differentiated.add(name)
        if held.logits is not None:
            return _gradient(held.leaf, held.logits, cotangent, again=True)
        pieces = []
        for part, rows in zip(held.parts, cotangent.split([len(part.x) for part in held.parts]), strict=True):
            with part.state.restored():
                leaf = part.x.clone().requires_grad_(True)
                logits = held.run(leaf)
            pieces.append(_gradient(leaf, logits, rows, again=False))
        return torch.cat(pieces)

    def _let_go(self) -> None:
        for spent in self._differentiated:
            self._passes.pop(spent, None)
        self._differentiated.clear()

    def _whole_or_parts(self, x: Tensor, run: Run, kind: str) -> tuple[_Pass, Tensor]:
        if self._room is None or not len(x):
            return self._whole(x, run, 0)
        if kind not in self._row_bytes:
            state, count = RandomState.now(), _Count(self._model, self._make_room)
            try:
                with count.counting():
                    done, logits = self._whole(x, run, 0)
                self._row_bytes[kind] = count.bytes / len(x)
                return replace(done, kept=count.bytes), logits
            except BaseException as error:
                if not count.exceeded:
                    raise
                traceback.clear_frames(error.__traceback__)
            gc.collect()  # what was made of the pass so far is held in circles
            state.restore()
            self._row_bytes[kind] = probed(self._model, x, run)
            state.restore()
        rows = max(1, int(self._room / max(1.0, self._row_bytes[kind])))
        kept = int(self._row_bytes[kind] * min(len(x), rows))
        self._make_room(kept)
        return self._whole(x, run, kept) if len(x) <= rows else self._parts(x, run, rows)

    def _whole(self, x: Tensor, run: Run, kept: int) -> tuple[_Pass, Tensor]:
        leaf = x.requires_grad_(True)
        logits = run(leaf)
        return _Pass(run, leaf, logits, (), kept), logits

    def _parts(self, x: Tensor, run: Run, rows: int) -> tuple[_Pass, Tensor]:
        parts, answers = [], []
        for piece in x.split(-(-len(x) // -(-len(x) // rows))):
            parts.append(_Part(piece, RandomState.now()))
            answers.append(run(piece.clone().requires_grad_(True)).detach())
        return _Pass(run, x, None, tuple(parts), 0), torch.cat(answers)

    def _make_room(self, wanted: int) -> bool:
        """Lets go of the oldest graphs until `wanted` more bytes fit; whether they do."""
        while self._room is not None and sum(held.kept for held in self._passes.values()) + wanted > self._room:
            if not any(held.kept for held in self._passes.values()):
                return False
            self._passes.popitem(last=False)
        return True


class _TooMuch(BaseException):
    """More is kept than there is room for. No Exception: the submission's own handlers have no part in it."""


class _Count:
    """Counts what a pass saves for its gradient, once for each piece of memory; the model's own weights cost nothing more.

    fits: asked with the bytes so far; a pass that does not fit is ended.
    """

    def __init__(self, model: nn.Module, fits: Callable[[int], bool] | None) -> None:
        self.exceeded, self._fits = False, fits
        self._saved_bytes, self._largest = 0, 0
        self._seen = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}

    @property
    def bytes(self) -> int:
        """What the pass needs: what it keeps, and some of the largest tensors beside it."""
        return self._saved_bytes + _PASSING * self._largest

    @contextmanager
    def counting(self) -> Iterator[None]:
        with torch.autograd.graph.saved_tensors_hooks(self._saved, lambda tensor: tensor):
            yield

    def _saved(self, tensor: Tensor) -> Tensor:
        if tensor.layout is torch.strided and tensor.device.type != "meta":
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self._seen:
                self._seen.add(storage.data_ptr())
                self._saved_bytes += storage.nbytes()
                self._largest = max(self._largest, storage.nbytes())
                if self._fits is not None and not self._fits(self.bytes):
                    self.exceeded = True
                    raise _TooMuch
        return tensor.detach()  # the tensor itself would hold its own graph, for good where the pass is ended


def _gradient(leaf: Tensor, logits: Tensor, cotangent: Tensor, *, again: bool) -> Tensor:
    """again: whether the graph will be asked once more."""
    if not logits.requires_grad:
        return torch.zeros_like(leaf)
    # As a sum, which gives the same bits: given a cotangent, autograd imports sympy, which costs every host 0.4 seconds.
    with torch.enable_grad():  # a host in the scorer's own process is asked from a backward pass, where it is off
        value = (logits * cotangent).sum()
    (gradient,) = torch.autograd.grad(value, leaf, retain_graph=again, allow_unused=True)
    return torch.zeros_like(leaf) if gradient is None else gradient
