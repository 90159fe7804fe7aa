"""What a submitted attack holds inside its sandbox: the proxy model and the budget, both views of the scorer's end.

Nothing here is trusted: the scorer charges, refuses and checks on its own side (`evaluator.host.attack_session`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor, nn

from evaluator.host.first_order import check_input, uncompiled
from evaluator.host.proxy import RemoteModel
from evaluator.host.query_ledger import check_all, check_each
from evaluator.host.wire import ENVELOPE_BYTES, Message, Transport, receive, send
from evaluator.manifests.spec import Access
from evaluator.models.meter import BudgetExhausted

QUERY_ROWS = 512  # the most images in one question; the proxy cuts larger batches
_FOREVER = 10.0**9


class QueryRefused(ValueError):
    """The scorer does not answer this question: wrong shape, not finite, outside the threat, or beyond the access level."""


class Budget:
    """What the attack may still ask: a forward row (one image) costs 1, a backward row (its gradient) 2.

    rows: granted in all. left: still unspent. left_each: (n,) int64, the same for every example where the challenge gives
    each its own rows, else None. A batch that what is left cannot pay whole raises `models.meter.BudgetExhausted` before
    anything is computed, and costs nothing.
    """

    def __init__(self, rows: int, left_each: Tensor | None = None) -> None:
        self.rows, self.left = rows, rows
        self.left_each = left_each

    def __repr__(self) -> str:
        return f"Budget(rows={self.rows}, left={self.left})"

    def check(self, prices: Sequence[Price]) -> None:
        """Raises BudgetExhausted where what is left does not pay all of them."""
        check_all(sum(price.rows for price in prices), self.left)
        if self.left_each is not None and prices:
            check_each(torch.stack([price.each for price in prices if price.each is not None]).sum(dim=0), self.left_each)


@dataclass(frozen=True)
class Price:
    """What a question costs: rows in all, and each: (n,) int64 of which example, None where they share."""

    rows: int
    each: Tensor | None

    def __mul__(self, times: int) -> Price:
        return Price(self.rows * times, None if self.each is None else self.each * times)


class ScorerLine:
    """Questions to the scorer, one at a time whatever threads the attack uses."""

    def __init__(self, transport: Transport, budget: Budget) -> None:
        self._transport, self.budget = transport, budget
        self.turn = threading.RLock()

    def ask(self, request: Message, *, limit: int, doing: str) -> Message:
        """One round trip. Raises BudgetExhausted or QueryRefused."""
        with self.turn:
            send(self._transport, request, timeout=_FOREVER)
            reply = receive(self._transport, limit=limit + 16 * _rows(self.budget), timeout=_FOREVER)
            if "left" in reply.fields:
                self.budget.left = int(reply.fields["left"])
            self.budget.left_each = reply.tensors.get("left_each", self.budget.left_each)
        if reply.op == "refused":
            kind = BudgetExhausted if reply.fields["reason"] == "budget" else QueryRefused
            raise kind(f"refused to {doing}: {reply.fields['detail']}")
        return reply

    def price(self, request: Message) -> Price | None:
        """What a question would cost, at no cost; None for a gradient of which the scorer no longer holds the pass."""
        reply = self.ask(Message("price", request.fields, request.tensors), limit=ENVELOPE_BYTES, doing="name its price")
        return None if reply.op == "expired" else Price(int(reply.fields["rows"]), reply.tensors.get("each"))


def _rows(budget: Budget) -> int:
    return 0 if budget.left_each is None else len(budget.left_each)


@dataclass(frozen=True)
class _Part:
    """A share of a batch that is one question. keep: the name of its graph; about: what is said of x beside x."""

    x: Tensor
    keep: str | None
    about: dict[str, Tensor]


class ProxyModel(RemoteModel):
    """The defense as an ordinary frozen `nn.Module` on the CPU: x (n, *shape) float32 in [0, 1] -> (n, classes) float32.

    level "gradients": logits, differentiable once; "scores": logits that never require grad; "labels": one-hot rows of the
    predicted class (see `models.access`); "none": every question is refused. A batch, its gradient too, is paid whole or
    not at all.
    """

    always_differentiable = False  # the scorer's end decides what it keeps, and is asked by nobody who could notice

    def __init__(self, line: ScorerLine, *, classes: int, level: Access) -> None:
        super().__init__(line, classes=classes)
        self._line, self._level = line, level
        # Third-party code asks `next(model.parameters())` for the device and the dtype.
        self.anchor = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.eval()

    def forward(self, x: Tensor, examples: Tensor | Sequence[int] | None = None) -> Tensor:
        """examples: (n,) positions of the examples that the images are about, which decides who pays where several sets hold
        one (`evaluator.host.query_ledger`); None leaves it to the scorer.
        """
        return uncompiled(self._about)(x, examples)

    def _about(self, x: Tensor, examples: Tensor | Sequence[int] | None) -> Tensor:
        check_input(x)
        if not len(x):
            return x.new_zeros(0, self._classes)
        about = {} if examples is None else {"examples": torch.as_tensor(examples, dtype=torch.int64).reshape(-1)}
        if "examples" in about and len(about["examples"]) != len(x):
            raise QueryRefused(f"{len(about['examples'])} examples are named for {len(x)} images; name one for each.")
        return self.asked(x, about, differentiable=self._level == "gradients")

    def logits(self, x: Tensor, *, keep: str | None = None, about: dict[str, Tensor] | None = None) -> Tensor:
        """The batch in questions of QUERY_ROWS images at most, once their prices together can be paid."""
        parts = _parts(x, keep, about or {})
        with self._line.turn:
            if len(parts) > 1:
                self._line.budget.check([self._forward_price(part) for part in parts])
            answers = [super(ProxyModel, self).logits(part.x, keep=part.keep, about=part.about) for part in parts]
        return answers[0] if len(answers) == 1 else torch.cat(answers)

    def vjp(self, x: Tensor, cotangent: Tensor, keep: str, about: dict[str, Tensor] | None = None) -> Tensor:
        """The gradient of such a batch. Passes that the scorer no longer holds come last: it lets go of others for them."""
        parts = _parts(x, keep, about or {})
        with self._line.turn:
            held = self._held(parts) if len(parts) > 1 else [True]
            answers: dict[int, Tensor] = {}
            cotangents = cotangent.split(QUERY_ROWS)
            for number in sorted(range(len(parts)), key=lambda number: not held[number]):
                part = parts[number]
                answers[number] = super().vjp(part.x, cotangents[number], str(part.keep), part.about)
        return torch.cat([answers[number] for number in range(len(parts))])

    def renew(self, x: Tensor, keep: str, about: dict[str, Tensor]) -> None:
        """Asks a pass again, where the gradient can be paid as well."""
        part = _Part(x, keep, about)
        self._line.budget.check([self._forward_price(part) * 3])
        super().logits(x, keep=keep, about=about)

    def _held(self, parts: list[_Part]) -> list[bool]:
        """Of which parts the scorer holds the pass. Raises BudgetExhausted where all their gradients cannot be paid."""
        prices = [self._line.price(Message("vjp", {"keep": str(part.keep)})) for part in parts]
        whole = [price or self._forward_price(part) * 3 for part, price in zip(parts, prices, strict=True)]
        self._line.budget.check(whole)
        return [price is not None for price in prices]

    def _forward_price(self, part: _Part) -> Price:
        price = self._line.price(Message("forward", {}, {"x": part.x.detach(), **part.about}))
        if price is None:
            raise RuntimeError("the scorer named no price")
        return price

    def __deepcopy__(self, memo: dict[int, object]) -> ProxyModel:
        """There is one defense and one budget: a copy asks the same."""
        return self

    def __copy__(self) -> ProxyModel:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("the model runs elsewhere and cannot be pickled or saved; ask it from this process.")


def _parts(x: Tensor, keep: str | None, about: dict[str, Tensor]) -> list[_Part]:
    """The batch as questions."""
    parts = []
    for number, part in enumerate(x.split(QUERY_ROWS)):
        some = slice(number * QUERY_ROWS, number * QUERY_ROWS + len(part))
        name = None if keep is None else f"{keep} {number}"
        parts.append(_Part(part, name, {key: value[some] for key, value in about.items()}))
    return parts
