"""What a submitted attack holds inside its sandbox: the proxy model and the budget, both views of the scorer's end.

Nothing here is trusted: the scorer charges, refuses and checks on its own side (`evaluator.host.attack_session`).
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor, nn

from evaluator.host.proxy import RemoteModel
from evaluator.meter import BudgetExhausted
from evaluator.spec import Access
from evaluator.wire import Message, Transport, receive, send

QUERY_ROWS = 512  # the most images in one question; the proxy cuts larger batches
_FOREVER = 10.0**9


class QueryRefused(ValueError):
    """The scorer does not answer this question: wrong shape, not finite, outside the threat, or beyond the access level."""


class Budget:
    """What the attack may still ask: a forward row (one image) costs 1, a backward row (its gradient) 2.

    rows: granted in all. left: still unspent. left_each: (n,) int64, the same for every example where the challenge gives
    each its own rows, else None. At zero the model raises `evaluator.meter.BudgetExhausted`, before anything is computed.
    """

    def __init__(self, rows: int) -> None:
        self.rows, self.left = rows, rows
        self.left_each: Tensor | None = None

    def __repr__(self) -> str:
        return f"Budget(rows={self.rows}, left={self.left})"


class ScorerLine:
    """Questions to the scorer, one at a time whatever threads the attack uses."""

    def __init__(self, transport: Transport, budget: Budget) -> None:
        self._transport, self._budget = transport, budget
        self.turn = threading.RLock()

    def ask(self, request: Message, *, limit: int, doing: str) -> Message:
        """One round trip. Raises BudgetExhausted or QueryRefused."""
        with self.turn:
            send(self._transport, request, timeout=_FOREVER)
            reply = receive(self._transport, limit=limit + 8 * _rows(self._budget), timeout=_FOREVER)
            if "left" in reply.fields:
                self._budget.left = int(reply.fields["left"])
            self._budget.left_each = reply.tensors.get("left_each", self._budget.left_each)
        if reply.op == "refused":
            kind = BudgetExhausted if reply.fields["reason"] == "budget" else QueryRefused
            raise kind(f"refused to {doing}: {reply.fields['detail']}")
        return reply


def _rows(budget: Budget) -> int:
    return 0 if budget.left_each is None else len(budget.left_each)


class ProxyModel(RemoteModel):
    """The defense as an ordinary frozen `nn.Module` on the CPU: x (n, *shape) float32 in [0, 1] -> (n, classes) float32.

    level "gradients": logits, differentiable once; "scores": logits that never require grad; "labels": one-hot rows of the
    predicted class (see `evaluator.access`); "none": every question is refused.
    """

    def __init__(self, line: ScorerLine, *, classes: int, level: Access) -> None:
        super().__init__(line, classes=classes)
        self._level = level
        # Third-party code asks `next(model.parameters())` for the device and the dtype.
        self.anchor = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        if not len(x):
            return x.new_zeros(0, self._classes)
        parts = x.split(QUERY_ROWS)
        if self._level == "gradients":
            answers = [super(ProxyModel, self).forward(part) for part in parts]
        else:
            answers = [self.logits(part) for part in parts]
        return answers[0] if len(answers) == 1 else torch.cat(answers)

    def __deepcopy__(self, memo: dict[int, object]) -> ProxyModel:
        """There is one defense and one budget: a copy asks the same."""
        return self
