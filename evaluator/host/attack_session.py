"""The scorer's side of a running attack: it answers the attack's questions about the defense until the result comes.

Rows are charged before they are computed; what cannot be answered is refused with a reason that raises in the attack's own
code, and the attack may go on and return what it has. Everything that arrives is checked before it reaches the defense.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from evaluator.data.tensors import Examples
from evaluator.errors import SubmissionError
from evaluator.host.attack_proxy import QUERY_ROWS
from evaluator.host.query_ledger import Ledger, OutsideThreat
from evaluator.meter import BudgetExhausted, MeteredModel
from evaluator.report import SubmissionReason
from evaluator.spec import Access, AccessSpec
from evaluator.threat_specs import ThreatSpec
from evaluator.threats import build
from evaluator.wire import ENVELOPE_BYTES, FrameTooLarge, Message, Transport, WireError, receive, send

KEPT_ROWS = 2048  # rows whose graphs are held for a VJP; the proxy asks for older ones again, and pays for them again
_POLL_SECONDS = 0.2
_FRAME_SECONDS = 30.0
_NEAR_BOX = (-1.0, 2.0)  # finite differences step a little outside the box; nothing useful is farther away
_LARGE_COTANGENT = 1e4
_DETAIL = 2000
T = TypeVar("T")
_REASONS = {reason.value for reason in SubmissionReason}


class AttackFault(Exception):
    """The attack broke the contract. No SubmissionError itself: of two submissions at work that would be the defense's."""

    def __init__(self, error: SubmissionError) -> None:
        super().__init__(str(error))
        self.error = error


class _Refusal(Exception):
    """A question that is not answered: "budget", "input", "outside" or "access", and why."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class _Graph:
    """One answered forward pass that may be differentiated. ordinary: asked inside [0, 1]."""

    leaf: Tensor
    logits: Tensor
    owners: Tensor | None
    ordinary: bool


class AttackSession:
    """One attack on one set of examples.

    transport: to an attack host that has said it is ready. model: the defense, metered with the attack's budget; its `tick`
    is polled between questions too, so that a cancelled session ends while the attack computes. seconds: wall clock of the
    whole session. seed: of the attack's randomness.
    """

    def __init__(
        self,
        transport: Transport,
        model: MeteredModel,
        examples: Examples,
        threat: ThreatSpec,
        access: AccessSpec,
        *,
        seed: int,
        seconds: float,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        if model.meter.budget is None:
            raise ValueError("an attack needs a budget")
        self._model, self._examples, self._spec, self._level = model, examples, threat, access.level
        self._seed, self._seconds = seed, seconds
        self._transport = _Patient(transport, time.monotonic() + seconds, tick)
        self._ledger = Ledger(examples.x, build(threat), access, rows=model.meter.budget)
        self._graphs: OrderedDict[str, _Graph] = OrderedDict()
        self._differentiated: set[str] = set()

    def run(self) -> Tensor:
        """What the attack returned: a claim, nothing about it checked but its size in bytes.

        Raises AttackFault, SubmissionError (the defense's), or whatever `tick` raises.
        """
        x = self._examples.x
        limit = ENVELOPE_BYTES + 8 * max(x.numel(), QUERY_ROWS * x[0].numel(), QUERY_ROWS * self._examples.classes)
        try:
            self._send(self._task())
            while True:
                message = receive(self._transport, limit=limit, timeout=self._seconds)
                match message.op:
                    case "forward" | "vjp":
                        self._send(self._answer(message))
                    case "result" if "points" in message.tensors:
                        return message.tensors["points"]
                    case "failed":
                        raise AttackFault(_told(message))
                    case _:
                        raise WireError(f'an operation "{message.op[:40]}" that no attack has')
        except FrameTooLarge as error:
            what = f"sent {error}: one point per example, in float32, is what attack() returns."
            raise _fault(SubmissionReason.OVERSIZED, what) from error
        except WireError as error:
            help = "Leave file descriptors you did not open alone."
            raise _fault(SubmissionReason.PROTOCOL, f"sent bytes that mean nothing: {error}.", help) from error
        except TimeoutError as error:
            what = f"did not return within the {self._seconds:g} s it is given."
            raise _fault(SubmissionReason.TIMEOUT, what, "Do fewer steps, or return before the time is up.") from error
        except (EOFError, OSError) as error:
            raise _fault(SubmissionReason.DIED, "its process ended before it returned.", "See its log.") from error

    def _task(self) -> Message:
        fields = {
            "threat": self._spec.model_dump_json(),
            "level": self._level,
            "rows": str(self._model.meter.budget),
            "classes": str(self._examples.classes),
            "seed": str(self._seed),
        }
        return Message("attack", fields, {"x": self._examples.x, "y": self._examples.y})

    def _send(self, message: Message) -> None:
        send(self._transport, message, timeout=_FRAME_SECONDS)

    def _answer(self, question: Message) -> Message:
        try:
            reply = self._forward(question) if question.op == "forward" else self._vjp(question)
        except _Refusal as refusal:
            reply = Message("refused", {"reason": refusal.reason, "detail": refusal.detail})
        except BudgetExhausted as error:
            reply = Message("refused", {"reason": "budget", "detail": str(error)})
        except OutsideThreat as error:
            reply = Message("refused", {"reason": "outside", "detail": str(error)})
        meter, each = self._model.meter, self._ledger.left_each
        fields = {**reply.fields, "left": str((meter.budget or 0) - meter.cost)}
        return Message(reply.op, fields, reply.tensors if each is None else {**reply.tensors, "left_each": each})

    def _forward(self, question: Message) -> Message:
        x = self._checked_query(question.tensors.get("x"))
        ordinary = bool(((x >= 0) & (x <= 1)).all())
        owners = self._ledger.owners(x)
        self._ledger.check(owners, 1)
        keep = question.fields.get("keep") if self._level == "gradients" else None
        with torch.set_grad_enabled(keep is not None):
            leaf = x.requires_grad_(keep is not None)
            logits = self._blaming(lambda: self._model(leaf), ordinary=ordinary)
        self._ledger.charge(owners, 1)
        if keep is not None:
            self._hold(keep, _Graph(leaf, logits, owners, ordinary))
        return Message("logits", {}, {"logits": _shown(logits.detach(), self._level)})

    def _vjp(self, question: Message) -> Message:
        if self._level != "gradients":
            raise _Refusal("access", f'this challenge gives access to "{self._level}", not to gradients.')
        keep = question.fields.get("keep", "")
        graph = self._graphs.get(keep)
        if graph is None:
            return Message("expired")
        cotangent = question.tensors.get("cotangent")
        if cotangent is None or cotangent.shape != graph.logits.shape or cotangent.dtype != torch.float32:
            raise _Refusal("input", f"a cotangent must be float32 and shaped like its logits {tuple(graph.logits.shape)}.")
        if not bool(torch.isfinite(cotangent).all()):
            raise _Refusal("input", "the gradient of your loss by the logits is NaN or Inf.")
        self._ledger.check(graph.owners, 2)
        ordinary = graph.ordinary and float(cotangent.abs().max()) <= _LARGE_COTANGENT
        (gradient,) = self._blaming(
            lambda: torch.autograd.grad(graph.logits, graph.leaf, cotangent, retain_graph=True), ordinary=ordinary
        )
        self._ledger.charge(graph.owners, 2)
        self._differentiated.add(keep)
        return Message("gradient", {}, {"gradient": gradient})

    def _checked_query(self, x: Tensor | None) -> Tensor:
        shape = self._examples.x.shape[1:]
        if self._level == "none":
            raise _Refusal("access", "this challenge answers no queries: transfer the attack from a model of your own.")
        if x is None or x.shape[1:] != shape or not 0 < len(x) <= QUERY_ROWS or x.dtype != torch.float32:
            form = "nothing" if x is None else f"{tuple(x.shape)} {str(x.dtype).removeprefix('torch.')}"
            raise _Refusal("input", f"the model takes float32 batches (n, {', '.join(map(str, shape))}), not {form}.")
        low, high = _NEAR_BOX
        if not bool(((x >= low) & (x <= high)).all()):
            raise _Refusal("input", f"the model takes images in [0, 1]; these hold NaN or values outside [{low:g}, {high:g}].")
        return x

    def _blaming(self, compute: Callable[[], T], *, ordinary: bool) -> T:
        """A defense answers for what it does to ordinary questions, whoever asks others for what happens then."""
        try:
            return compute()
        except SubmissionError as error:
            if ordinary:
                raise
            if error.reason in (SubmissionReason.NOT_FINITE, SubmissionReason.RAISED):
                raise _Refusal(
                    "input", f"outside [0, 1] or with a huge loss the defense has no answer: {error.what}"
                ) from error
            what = f"made the defense fail with a query outside [0, 1] or a huge loss: {error}"
            raise _fault(SubmissionReason.RAISED, what, "Clamp your queries to [0, 1].") from error

    def _hold(self, keep: str, graph: _Graph) -> None:
        """A graph that has been differentiated is held until the next one comes: Jacobians ask it several times."""
        for spent in self._differentiated:
            self._graphs.pop(spent, None)
        self._differentiated.clear()
        self._graphs[keep] = graph
        while len(self._graphs) > 1 and sum(len(held.leaf) for held in self._graphs.values()) > KEPT_ROWS:
            self._graphs.popitem(last=False)


class _Patient:
    """The transport, waiting for a message until the deadline while `tick` is polled.

    Only the wait for a first byte is cut into polls, as no byte can be lost there; a frame once begun has to come swiftly.
    Nothing, neither an answer that is not read nor half a frame, holds it up beyond the deadline.
    """

    def __init__(self, transport: Transport, deadline: float, tick: Callable[[], None]) -> None:
        self._transport, self._deadline, self._tick = transport, deadline, tick

    def send(self, data: bytes | bytearray | memoryview, *, timeout: float) -> None:
        self._transport.send(data, timeout=self._at_most(timeout))

    def receive(self, size: int, *, timeout: float) -> bytes | bytearray:
        first = self._first()
        rest = self._transport.receive(size - 1, timeout=self._at_most(_FRAME_SECONDS)) if size > 1 else b""
        return first + rest

    def _at_most(self, seconds: float) -> float:
        return max(0.0, min(seconds, self._deadline - time.monotonic()))

    def _first(self) -> bytearray:
        while True:
            self._tick()
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            try:
                return bytearray(self._transport.receive(1, timeout=min(_POLL_SECONDS, left)))
            except TimeoutError:
                continue


def _shown(logits: Tensor, level: Access) -> Tensor:
    """The answer at an access level (`evaluator.access`)."""
    if level != "labels":
        return logits
    return functional.one_hot(logits.argmax(dim=1), logits.shape[1]).to(torch.float32)


def _told(message: Message) -> SubmissionError:
    """The failure that the attack's host reports, taken for no more than its words."""
    reason, detail = message.fields.get("reason", ""), message.fields.get("detail", "")[:_DETAIL]
    return SubmissionError(reason if reason in _REASONS else SubmissionReason.RAISED, detail or "failed without a word.")


def _fault(reason: SubmissionReason, what: str, help: str = "") -> AttackFault:
    return AttackFault(SubmissionError(reason, what, help=help))
