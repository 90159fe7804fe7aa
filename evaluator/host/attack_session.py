"""The scorer's side of a running attack: it answers the attack's questions about the defense until the result comes.

Rows are charged before they are computed. What cannot be answered is refused with a reason that raises in the attack's own
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

from evaluator.data.tensors import Examples
from evaluator.errors import SubmissionError
from evaluator.host.attack_proxy import QUERY_ROWS
from evaluator.host.patience import FRAME_SECONDS, Patient
from evaluator.host.query_ledger import Ledger, OutsideThreat, check_all
from evaluator.host.wire import ENVELOPE_BYTES, FrameTooLarge, Message, Transport, WireError, receive, send
from evaluator.manifests.spec import Access, AccessSpec
from evaluator.manifests.threat_specs import ThreatSpec
from evaluator.models.meter import BudgetExhausted, MeteredModel
from evaluator.models.reading import Reading
from evaluator.records.report import SubmissionReason
from evaluator.threats import build

KEPT_ROWS = 2048  # rows whose graphs are held for a VJP; the proxy asks for older ones again, and pays for them again
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
    """One answered forward pass that may be differentiated. charged: (m, n) who pays; ordinary: asked inside [0, 1]."""

    leaf: Tensor
    logits: Tensor
    charged: Tensor | None
    ordinary: bool


class AttackSession:
    """One attack on one set of examples.

    transport: to an attack host that has said it is ready. model: the defense, metered with the attack's budget; its `tick`
    is polled between questions too, so that a cancelled session ends while the attack computes. seconds: wall clock of the
    whole session. seed: of the attack's randomness. What a declared detector refuses is seen at every level (`model.reading`).
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
        self._transport = Patient(transport, time.monotonic() + seconds, tick)
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
                    case "forward" | "vjp" | "price":
                        self._send(self._answer(message))
                    case "result" if "points" in message.tensors:
                        return message.tensors["points"]
                    case "failed":
                        raise AttackFault(_reported(message))
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
        each = self._ledger.left_each
        tensors = {"x": self._examples.x, "y": self._examples.y}
        if self._examples.target is not None:
            tensors["target"] = self._examples.target
        return Message("attack", fields, tensors if each is None else {**tensors, "left_each": each})

    def _send(self, message: Message) -> None:
        send(self._transport, message, timeout=FRAME_SECONDS)

    def _answer(self, question: Message) -> Message:
        try:
            answer = {"forward": self._forward, "vjp": self._vjp, "price": self._price}[question.op]
            reply = answer(question)
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
        x, charged = self._checked_query(question)
        ordinary = bool(((x >= 0) & (x <= 1)).all())
        keep = question.fields.get("keep") if self._level == "gradients" else None
        self._pay(charged, len(x), 1)
        with torch.set_grad_enabled(keep is not None):
            leaf = x.requires_grad_(keep is not None)
            logits = self._blaming(lambda: self._model(leaf), ordinary=ordinary)
        if keep is not None:
            self._hold(keep, _Graph(leaf, logits, charged, ordinary))
        return Message("logits", {}, {"logits": _shown(logits.detach(), self._level, self._model.reading)})

    def _price(self, question: Message) -> Message:
        """What a question would cost, so that a batch of several is asked only where all of them can be paid."""
        keep = question.fields.get("keep")
        if keep is None:
            x, charged = self._checked_query(question)
            rows, cost = len(x), 1
        else:
            graph = self._graphs.get(keep)
            if graph is None:
                return Message("expired")
            charged, rows, cost = graph.charged, len(graph.leaf), 2
        each = self._ledger.spending(charged, cost)
        return Message("price", {"rows": str(cost * rows)}, {} if each is None else {"each": each})

    def _pay(self, charged: Tensor | None, rows: int, cost: int) -> None:
        """Charges the examples; the model charges the sum. Raises BudgetExhausted, charging neither, where one is short."""
        meter = self._model.meter
        check_all(cost * rows, (meter.budget or 0) - meter.cost)
        self._ledger.check(charged, cost)
        self._ledger.charge(charged, cost)

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
        self._pay(graph.charged, len(graph.leaf), 2)
        ordinary = graph.ordinary and float(cotangent.abs().max()) <= _LARGE_COTANGENT
        (gradient,) = self._blaming(
            lambda: torch.autograd.grad((graph.logits * cotangent).sum(), graph.leaf, retain_graph=True), ordinary=ordinary
        )
        self._differentiated.add(keep)
        return Message("gradient", {}, {"gradient": gradient})

    def _checked_query(self, question: Message) -> tuple[Tensor, Tensor | None]:
        """What is asked about, and which examples it is charged to."""
        x, named = question.tensors.get("x"), question.tensors.get("examples")
        shape = self._examples.x.shape[1:]
        if self._level == "none":
            raise _Refusal("access", "this challenge answers no queries: transfer the attack from a model of your own.")
        if x is None or x.shape[1:] != shape or not 0 < len(x) <= QUERY_ROWS or x.dtype != torch.float32:
            form = "nothing" if x is None else f"{tuple(x.shape)} {str(x.dtype).removeprefix('torch.')}"
            raise _Refusal("input", f"the model takes float32 batches (n, {', '.join(map(str, shape))}), not {form}.")
        low, high = _NEAR_BOX
        if not bool(((x >= low) & (x <= high)).all()):
            raise _Refusal("input", f"the model takes images in [0, 1]; these hold NaN or values outside [{low:g}, {high:g}].")
        if named is not None and not _positions(named, rows=len(x), below=len(self._examples)):
            what = f"examples are named by int64 positions from 0 to {len(self._examples) - 1}, one for each image."
            raise _Refusal("input", what)
        return x, self._ledger.charged(x, named)

    def _blaming(self, compute: Callable[[], T], *, ordinary: bool) -> T:
        """A defense answers for what it does to ordinary questions, the asker of other questions for what happens then.

        What the defense says of its failure is its team's: it may tell more than any access level allows.
        """
        try:
            return compute()
        except SubmissionError as error:
            if ordinary:
                raise
            if error.reason in (SubmissionReason.NOT_FINITE, SubmissionReason.RAISED):
                raise _Refusal("input", "outside [0, 1] or with a huge loss the defense has no answer.") from error
            what = f'made the defense fail ("{error.reason}") with a query outside [0, 1] or a huge loss.'
            raise _fault(SubmissionReason.RAISED, what, "Clamp your queries to [0, 1].") from error

    def _hold(self, keep: str, graph: _Graph) -> None:
        """A graph that has been differentiated is held until the next one comes: Jacobians ask it several times."""
        for spent in self._differentiated:
            self._graphs.pop(spent, None)
        self._differentiated.clear()
        self._graphs[keep] = graph
        while len(self._graphs) > 1 and sum(len(held.leaf) for held in self._graphs.values()) > KEPT_ROWS:
            self._graphs.popitem(last=False)


def _positions(named: Tensor, *, rows: int, below: int) -> bool:
    """Whether these are `rows` positions of examples."""
    return named.dtype == torch.int64 and named.shape == (rows,) and bool(((named >= 0) & (named < below)).all())


def _shown(logits: Tensor, level: Access, reading: Reading) -> Tensor:
    """The answer at an access level (`evaluator.models.access`); a refusal of a declared detector stays visible."""
    return reading.decisions(lambda x: x)(logits) if level == "labels" else logits


def _reported(message: Message) -> SubmissionError:
    """The failure that the attack's host reports, taken for no more than its words."""
    reason, detail = message.fields.get("reason", ""), message.fields.get("detail", "")[:_DETAIL]
    return SubmissionError(reason if reason in _REASONS else SubmissionReason.RAISED, detail or "exited without output.")


def _fault(reason: SubmissionReason, what: str, help: str = "") -> AttackFault:
    return AttackFault(SubmissionError(reason, what, help=help))
