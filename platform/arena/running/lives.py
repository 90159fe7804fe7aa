"""A model in its sandbox, asked through one line, in one life after the other.

A life is a process that loads the submission and answers some passes; then the host forgets it (`evaluator.host.forking`). How
many passes a life has is drawn from the scorer's secret seed. Passes of different kinds (another backward pass, a fixed seed, a
look inside) never share a life. One pass of each life is asked again in the next one: a model that keeps nothing, and is not
random, says the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from evaluator.checks.base import different
from evaluator.host.proxy import Channel
from evaluator.host.wire import ENVELOPE_BYTES, Message
from evaluator.records.report import Flag
from sandbox import Running

CHECK = "lives"
PASSES = 64  # forward passes of a life on average, of twice as many at most
PATIENCE = 25.0  # a life answers at least for so many times as its loading took: that is a cost of 4 %
LONGEST_SECONDS = 60.0  # but is not waited for longer
TOLERANCE, COARSEST = 1e-4, 0.02  # of a row's largest logit, and where a life's own answers vary as a batch is turned round
_ROW_BYTES = 1 << 16  # of an answer, at most
_SHOWN = 4  # logits of an answer that the evidence shows
_PLAIN = {"own", "declared"}  # backward passes that an official search asks for


@dataclass
class Doubts:
    """What two lives of one model said differently. Filled by `Lifeline`, taken by the one who writes the report."""

    answers: int = 0
    moved: int = 0
    evidence: str = ""

    def compare(self, one: Tensor, other: Tensor, tolerance: float) -> None:
        """The logits (n, K) of the same pass in two lives. tolerance: of a row's largest one."""
        same = one.shape == other.shape
        apart = different(one, other, tolerance) if same else torch.ones(len(one), dtype=torch.bool)
        self.answers += len(one)
        self.moved += int(apart.sum())
        if bool(apart.any()) and not self.evidence and same:
            row = int(apart.nonzero()[0])
            self.evidence = f"[{_words(one[row])}] in one and [{_words(other[row])}] in the other"

    def taken(self) -> list[Flag]:
        """The flag where there is reason for one; what was seen is forgotten."""
        answers, moved, evidence = self.answers, self.moved, self.evidence
        self.answers, self.moved, self.evidence = 0, 0, ""
        if not moved:
            return []
        what = f"{moved} of {answers} answers differed between two processes of the model, which know nothing of each other"
        return [Flag(check=CHECK, severity="unverified", evidence=f"{what}: {evidence or 'other shapes'}.")]


@dataclass(frozen=True)
class Secret:
    """What decides about the lives of one opened model. seed: the scorer's, with what tells this opening from others.

    seeded: whether each life's generators start from a seed of its own, as those of declared randomness must: they would
    otherwise repeat themselves in each life.
    """

    seed: tuple[int, ...]
    seeded: bool = False

    def dice(self) -> np.random.Generator:
        """A generator of its own each time."""
        return np.random.default_rng([part % 2**63 for part in self.seed])


@dataclass
class _Life:
    """What is left of a life, and the pass of the life before that it is to be asked. kind: of which passes."""

    kind: str
    passes: int
    again_in: int = 0
    again: tuple[Message, Tensor] | None = None
    kept: tuple[Message, Tensor] | None = None
    seen: int = 0
    loading: float = 0.0
    begun: float = field(default_factory=time.monotonic)


class Lifeline:
    """`evaluator.host.proxy.Line` to a model's lives.

    hosts: starts one sandboxed host after the other, in a context each, as (running, its channel). Raises what it and `Channel`
    raise. doubts: where answers of two lives are compared, None where they may differ.
    """

    def __init__(self, hosts: Callable[[ExitStack], tuple[Running, Channel]], secret: Secret, doubts: Doubts | None) -> None:
        self._hosts, self._secret, self._doubts = hosts, secret, doubts
        self._dice, self._seeds = secret.dice(), _seeds(secret)
        self._open = ExitStack()
        self.running, self._channel = hosts(self._open)
        self._life = _Life("plain", self._drawn())

    def load(self) -> None:
        """The first life."""
        self._load()

    def close(self) -> None:
        """Ends the host."""
        self._open.close()

    def ask(self, request: Message, *, limit: int, doing: str) -> Message:
        """One round trip."""
        if request.op == "vjp":
            return self._channel.ask(request, limit=limit, doing=doing)
        kind = _kind(request)
        if kind != self._life.kind or self._spent():
            self.renew(kind)
        if self._life.again is not None and self._life.again_in <= 0:
            self._ask_again(self._life.again)
        reply = self._channel.ask(request, limit=limit, doing=doing)
        self._life.passes, self._life.again_in = self._life.passes - 1, self._life.again_in - 1
        if kind == "plain" and self._doubts is not None and "logits" in reply.tensors:
            self._keep(request, reply.tensors["logits"])
        return reply

    def _spent(self) -> bool:
        """Whether this life has had its passes, and enough time for what its loading cost."""
        life = self._life
        if life.kind != "plain" or life.passes > 0:
            return False
        if self._secret.seeded:  # where a life ends decides about the randomness after it, and no verdict depends on the clock
            return True
        return time.monotonic() - life.begun >= min(PATIENCE * life.loading, LONGEST_SECONDS)

    def renew(self, kind: str = "plain") -> None:
        """Ends this life and begins another one, for passes of that kind."""
        kept = self._life.kept or self._life.again
        self._life = _Life(kind, self._drawn(), again=kept if kind == "plain" else None, kept=None)
        if kind != "plain":
            self._life.kept = kept  # to be asked in the next plain life
        self._life.again_in = int(self._dice.integers(0, self._life.passes))
        self._load()

    def _load(self) -> None:
        begun = time.monotonic()
        if not self._channel.load(next(self._seeds)):
            self._open.close()
            self.running, self._channel = self._hosts(self._open)
            self._channel.load(next(self._seeds))
        self._life.begun = time.monotonic()
        self._life.loading = self._life.begun - begun

    def _drawn(self) -> int:
        return int(self._dice.integers(1, 2 * PASSES + 1))

    def _keep(self, request: Message, logits: Tensor) -> None:
        """Each pass of a life is the kept one with the same chance."""
        self._life.seen += 1
        if self._dice.integers(self._life.seen) == 0:
            copies = {name: tensor.detach().clone() for name, tensor in request.tensors.items()}
            self._life.kept = (Message(request.op, request.fields, copies), logits)

    def _ask_again(self, pair: tuple[Message, Tensor]) -> None:
        request, said = pair
        self._life.again = None
        again = self._answer(request, len(said))
        tolerance = TOLERANCE
        if self._doubts is None or again is None:
            return
        if again.shape == said.shape and bool(different(said, again).any()):
            turned = self._answer(Message(request.op, request.fields, {"x": request.tensors["x"].flip(0)}), len(said))
            if turned is not None and turned.shape == said.shape:  # coarse arithmetic rounds by the place in a batch
                apart = (again - turned.flip(0)).abs().amax(dim=1) / again.abs().amax(dim=1).clamp_min(1e-12)
                tolerance = max(tolerance, min(COARSEST, 3 * float(apart.amax())))
        self._doubts.compare(said, again, tolerance)

    def _answer(self, request: Message, rows: int) -> Tensor | None:
        reply = self._channel.ask(request, limit=ENVELOPE_BYTES + rows * _ROW_BYTES, doing=f"classify {rows} images")
        return reply.tensors.get("logits")


def _kind(request: Message) -> str:
    """Passes of one kind share lives."""
    if request.op != "forward":
        return request.op
    backward = request.fields.get("backward", "own")
    if backward in _PLAIN and "seed" not in request.fields:
        return "plain"
    return f"{backward} {'seeded' if 'seed' in request.fields else ''}"


def _seeds(secret: Secret) -> Iterator[int | None]:
    dice = np.random.default_rng([*(part % 2**63 for part in secret.seed), 1])
    while True:
        yield int(dice.integers(2**32)) if secret.seeded else None


def _words(logits: Tensor) -> str:
    """The largest logits of a row."""
    best = logits.float().topk(min(_SHOWN, len(logits)))
    return ", ".join(f"{index}: {value:.4g}" for value, index in zip(best.values.tolist(), best.indices.tolist(), strict=True))
