"""The scorer's view of a sandboxed model: a torch.nn.Module whose forward is one round trip and whose backward another."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from evaluator.errors import SubmissionError
from evaluator.host.first_order import check_cotangent, check_input, first_order, refuse_script, uncompiled
from evaluator.host.inspection import Inspection
from evaluator.host.wire import ENVELOPE_BYTES, FrameTooLarge, Message, Transport, WireError, receive, send
from evaluator.records.report import SubmissionReason

_REASONS = {reason.value for reason in SubmissionReason}
_DETAIL = 2000


class Channel:
    """Request and reply over a transport, with every way of misbehaving turned into a typed SubmissionError.

    reply_seconds: the longest a reply may take, start to end. load_seconds: the same for loading.
    """

    def __init__(self, transport: Transport, *, reply_seconds: float, load_seconds: float) -> None:
        self._transport, self._reply_seconds, self._load_seconds = transport, reply_seconds, load_seconds

    def load(self, seed: int | None = None) -> bool:
        """Asks the host to load the submission, or to load it again in a process that knows nothing of the one before.

        seed: what the model's generators start from, None for what they always start from. False where this host has no other
        life to give, and has to be started afresh. Raises SubmissionError(load | manifest | timeout | died | ...).
        """
        request = Message("load", {} if seed is None else {"seed": str(seed)})
        reply = self._ask(request, limit=ENVELOPE_BYTES, seconds=self._load_seconds, doing="load the submission")
        if reply.op not in ("ready", "spent"):
            raise SubmissionError(SubmissionReason.PROTOCOL, f'the host answered "{reply.op[:40]}" to load.')
        return reply.op == "ready"

    def ask(self, request: Message, *, limit: int, doing: str) -> Message:
        """One round trip; `limit` bounds the reply's bytes."""
        return self._ask(request, limit=limit, seconds=self._reply_seconds, doing=doing)

    def _ask(self, request: Message, *, limit: int, seconds: float, doing: str) -> Message:
        deadline = time.monotonic() + seconds
        try:
            send(self._transport, request, timeout=seconds)
            reply = receive(self._transport, limit=limit, timeout=max(0.0, deadline - time.monotonic()))
        except TimeoutError as error:
            what = f"did not {doing} within {seconds:g} s."
            raise SubmissionError(SubmissionReason.TIMEOUT, what, help="Make it faster or submit a smaller model.") from error
        except (EOFError, OSError) as error:
            what = f"the process ended while it was asked to {doing}."
            raise SubmissionError(SubmissionReason.DIED, what, help="See its log.") from error
        except FrameTooLarge as error:
            raise SubmissionError(SubmissionReason.OVERSIZED, f"sent {error} when asked to {doing}.") from error
        except WireError as error:
            what = f"sent bytes that are no reply when asked to {doing}: {error}."
            raise SubmissionError(
                SubmissionReason.PROTOCOL, what, help="Leave file descriptors you did not open alone."
            ) from error
        if reply.op == "failed":
            reason = reply.fields.get("reason", "")
            detail = reply.fields.get("detail", "")[:_DETAIL]
            raise SubmissionError(reason if reason in _REASONS else SubmissionReason.RAISED, detail or f"failed to {doing}.")
        return reply


class Line(Protocol):
    """What answers `RemoteModel`'s questions."""

    def ask(self, request: Message, *, limit: int, doing: str) -> Message: ...


class RemoteModel(nn.Module):
    """x (n, *shape) float32 -> logits (n, classes), differentiable in x once; nothing about it betrays the host.

    Second and forward-mode derivatives and transforms raise `evaluator.host.first_order.FirstOrderOnly`.
    backward: the backward pass that the host should serve (`evaluator.host.backward`). seed: what the host's generators start
    every pass from; None leaves a random model its own randomness. beside: opens a line to another process with the same
    submission; whatever code could notice (inspection, another backward pass, seeds) happens there and nowhere else. Without
    it, everything is asked over `channel`. Shape, dtype and finiteness of answers are judged by
    `evaluator.models.meter.MeteredModel`; here only their byte size is.

    Every pass is asked for as if a gradient followed, under a name that says nothing. Code in the host cannot tell a question
    of the search from any other.
    """

    always_differentiable: ClassVar[bool] = True

    def __init__(
        self,
        channel: Line,
        *,
        classes: int,
        backward: str = "own",
        seed: int | None = None,
        beside: Callable[[], Line] | None = None,
    ) -> None:
        super().__init__()
        self._channel, self._classes, self._backward, self._seed, self._beside = channel, classes, backward, seed, beside

    def with_backward(self, name: str) -> RemoteModel:
        """The same model with another backward pass, beside the line of its own."""
        return self._apart(name, self._seed)

    def with_seed(self, seed: int) -> RemoteModel:
        """The same model beside the line of its own, its randomness the same in every pass."""
        return self._apart(self._backward, seed)

    def _apart(self, backward: str, seed: int | None) -> RemoteModel:
        if backward == self._backward and seed == self._seed:
            return self
        return RemoteModel(self._aside(), classes=self._classes, backward=backward, seed=seed)

    def _aside(self) -> Line:
        return self._channel if self._beside is None else self._beside()

    def forward(self, x: Tensor) -> Tensor:
        return uncompiled(self.asked)(x, {})

    def asked(self, x: Tensor, about: dict[str, Tensor], *, differentiable: bool = True) -> Tensor:
        """logits of x, in the graph where x is. about: what the line gets beside x, one row for each of its rows."""
        check_input(x)
        if differentiable and torch.is_grad_enabled() and x.requires_grad:
            return _Remote.apply(x, self, about)  # type: ignore[no-any-return, no-untyped-call]
        return self.logits(x, about=about)

    def __prepare_scriptable__(self) -> None:
        refuse_script()

    def logits(self, x: Tensor, *, keep: str | None = None, about: dict[str, Tensor] | None = None) -> Tensor:
        """One forward round trip; `keep` names the graph that the host should hold for a VJP."""
        if keep is None and self.always_differentiable:
            keep = self.next_pass()
        fields = {} if keep is None else {"keep": keep}
        if keep is not None and self._backward != "own":
            fields["backward"] = self._backward
        if self._seed is not None:
            fields["seed"] = str(self._seed)
        limit = ENVELOPE_BYTES + 8 * len(x) * max(self._classes, 1) * 2
        reply = self._channel.ask(
            Message("forward", fields, {"x": x, **(about or {})}), limit=limit, doing=f"classify {len(x)} images"
        )
        return _tensor(reply, "logits")

    def vjp(self, x: Tensor, cotangent: Tensor, keep: str, about: dict[str, Tensor] | None = None) -> Tensor:
        """One backward round trip; when the host no longer holds the graph, forward is asked again first."""
        request = Message("vjp", {"keep": keep}, {"cotangent": cotangent})
        limit = ENVELOPE_BYTES + 8 * x.numel()
        doing = f"differentiate {len(x)} images"
        reply = self._channel.ask(request, limit=limit, doing=doing)
        if reply.op == "expired":
            self.renew(x, keep, about or {})
            reply = self._channel.ask(request, limit=limit, doing=doing)
        gradient = _tensor(reply, "gradient")
        if gradient.shape != x.shape or gradient.dtype != x.dtype:
            what = f"answered a gradient of shape {tuple(gradient.shape)} and {gradient.dtype} for an input {tuple(x.shape)}."
            raise SubmissionError(SubmissionReason.SHAPE, what)
        return gradient

    def renew(self, x: Tensor, keep: str, about: dict[str, Tensor]) -> None:
        """Asks a forward pass again whose graph the host has let go of."""
        self.logits(x, keep=keep, about=about)

    def inspected(self, x: Tensor) -> Inspection:
        """What the host saw inside the model while it answered x (n, *shape): evidence against it, never for it."""
        doing = f"be inspected on {len(x)} images"
        reply = self._aside().ask(Message("inspect", {}, {"x": x.detach().cpu()}), limit=ENVELOPE_BYTES, doing=doing)
        try:
            return Inspection.model_validate_json(reply.fields["inspection"])
        except (KeyError, ValidationError) as error:
            raise SubmissionError(SubmissionReason.PROTOCOL, f"sent no inspection when asked to {doing}.") from error

    def next_pass(self) -> str:
        """A fresh name for a graph: no number, which would count passes for the one who reads it."""
        return secrets.token_hex(8)


class _Remote(torch.autograd.Function):
    """Joins the two round trips into one autograd node."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, remote: RemoteModel, about: dict[str, Tensor]) -> Tensor:
        ctx.remote, ctx.about, ctx.keep = remote, about, remote.next_pass()
        ctx.save_for_backward(x)
        return remote.logits(x.detach().cpu(), keep=ctx.keep, about=about).to(x.device)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None]:
        check_cotangent(cotangent)
        (x,) = ctx.saved_tensors
        with torch.no_grad():
            gradient = ctx.remote.vjp(x.detach().cpu(), cotangent.detach().cpu(), ctx.keep, ctx.about).to(x.device)
        return first_order(gradient, x, cotangent) if torch.is_grad_enabled() else gradient, None, None


def _tensor(reply: Message, name: str) -> Tensor:
    if reply.op != name or name not in reply.tensors:
        raise SubmissionError(SubmissionReason.PROTOCOL, f'answered "{reply.op[:40]}" where {name} were asked for.')
    return reply.tensors[name]
