"""Which example a query belongs to, whether it may be asked, and what each example has left.

A query is charged to the example that it is nearest to (Euclidean), or, where it is outside that one's perturbation set, to
the first example whose set holds it. An attack can move rows between examples only by asking about the other example.
"""

from __future__ import annotations

import torch
from torch import Tensor

from evaluator.meter import BudgetExhausted
from evaluator.spec import AccessSpec
from evaluator.threats.base import Threat

_NAMED = 5


class OutsideThreat(Exception):
    """Some of the queries lie in no example's perturbation set."""


class Ledger:
    """x: (n, *shape) the clean images of the examples under attack. rows: what they may cost together."""

    def __init__(self, x: Tensor, threat: Threat, access: AccessSpec, *, rows: int) -> None:
        self._x, self._threat = x, threat
        self._refuses = access.outside == "refused"
        share = rows // max(len(x), 1)
        self.left_each = torch.full((len(x),), share) if access.sharing == "separate" else None

    def owners(self, queries: Tensor) -> Tensor | None:
        """(m,) positions of the examples that the queries are charged to, None where nobody needs to know.

        Raises OutsideThreat where the challenge refuses queries that lie in no example's set.
        """
        if self.left_each is None and not self._refuses:
            return None
        owners = torch.cdist(queries.flatten(1), self._x.flatten(1)).argmin(dim=1)
        if self._refuses:
            outside = ~self._threat.contains(self._x[owners], queries)
            for row in outside.nonzero()[:, 0].tolist():
                holding = self._threat.contains(self._x, queries[row].expand_as(self._x)).nonzero()[:, 0]
                if not len(holding):
                    what = f"{int(outside.sum())} of {len(queries)} queries are outside the {self._threat.kind} set"
                    raise OutsideThreat(f"{what} (row {row} is the first in no example's); this challenge answers inside only.")
                owners[row] = holding[0]
        return owners

    def check(self, owners: Tensor | None, cost: int) -> None:
        """Raises BudgetExhausted, charging nothing, when some owner cannot pay `cost` for each of its queries."""
        if owners is None or self.left_each is None:
            return
        short = (self.left_each < self._spending(owners, cost)).nonzero()[:, 0].tolist()
        if short:
            named = ", ".join(map(str, short[:_NAMED])) + (", ..." if len(short) > _NAMED else "")
            raise BudgetExhausted(f"the rows of {len(short)} examples are spent (positions {named})")

    def charge(self, owners: Tensor | None, cost: int) -> None:
        """Takes what `check` has allowed."""
        if owners is not None and self.left_each is not None:
            self.left_each -= self._spending(owners, cost)

    def _spending(self, owners: Tensor, cost: int) -> Tensor:
        return cost * torch.bincount(owners, minlength=len(self._x))
