"""Which examples a query belongs to, whether it may be asked, and what each example has left.

A query is charged to the example whose perturbation set holds it. Where several do, to the one of them that the attack
names, else to each of them. So an example's own rows are all that can be spent inside its set, whatever an attack names.
A query in no example's set is refused, or answered and charged to the nearest example, in the threat's own distance and
whatever is named. Just outside a set a name would open every other example's account.
"""

from __future__ import annotations

import torch
from torch import Tensor

from evaluator.errors import InputError
from evaluator.manifests.spec import AccessSpec
from evaluator.models.meter import BudgetExhausted
from evaluator.threats.base import Threat

_NAMED = 5
_COORDINATES = 128  # on so many of them pairs are compared first: few are near there, and only those are judged exactly
_PAIRS = 256  # judged at a time
_ROUNDING = 1e-4  # of float32 norms over those few coordinates


class OutsideThreat(Exception):
    """Some of the queries lie in no example's perturbation set."""


class Ledger:
    """x: (n, *shape) the clean images of the examples under attack. rows: what they may cost together.

    left_each: (n,) int64 unspent rows of each, None where they share. Raises InputError for separate accounts, or refusals,
    under a threat whose points are no inputs: no query shows there whose set holds it.
    """

    def __init__(self, x: Tensor, threat: Threat, access: AccessSpec, *, rows: int) -> None:
        self._x, self._threat = x, threat
        self._refuses, separate = access.outside == "refused", access.sharing == "separate"
        self._balls = _balls(threat) if self._refuses or separate else []
        self.left_each = torch.full((len(x),), rows // max(len(x), 1)) if separate else None

    def charged(self, queries: Tensor, named: Tensor | None = None) -> Tensor | None:
        """(m, n) bool, which examples each query is charged to; None where nobody needs to know.

        named: (m,) int64 positions of the examples that the attack says the queries are about.
        Raises OutsideThreat where the challenge refuses queries that lie in no example's set.
        """
        if self.left_each is None and not self._refuses:
            return None
        holds = self._holding(queries if self._refuses else queries.clamp(*self._threat.box))
        nowhere = (~holds.any(dim=1)).nonzero()[:, 0]
        if len(nowhere) and self._refuses:
            what = f"{len(nowhere)} of {len(queries)} queries are outside the {self._threat.kind} set"
            raise OutsideThreat(
                f"{what} (row {int(nowhere[0])} is the first in no example's); this challenge answers inside only."
            )
        if self.left_each is None:
            return None
        if named is not None:
            about = torch.zeros_like(holds).scatter(1, named[:, None], True)
            holds = torch.where((holds & about).any(dim=1, keepdim=True), about, holds)
        if len(nowhere):
            holds[nowhere, self._nearest(queries[nowhere])] = True
        return holds

    def spending(self, charged: Tensor | None, cost: int) -> Tensor | None:
        """(n,) int64: what `cost` rows for each query take from each example; None where they share."""
        return None if charged is None or self.left_each is None else cost * charged.sum(dim=0)

    def check(self, charged: Tensor | None, cost: int) -> None:
        """Raises BudgetExhausted, charging nothing, when some example cannot pay `cost` for each of its queries."""
        spending = self.spending(charged, cost)
        if spending is not None and self.left_each is not None:
            check_each(spending, self.left_each)

    def charge(self, charged: Tensor | None, cost: int) -> None:
        """Takes what `check` has allowed."""
        spending = self.spending(charged, cost)
        if spending is not None and self.left_each is not None:
            self.left_each = self.left_each - spending

    def _holding(self, queries: Tensor) -> Tensor:
        """(m, n) bool: whose sets hold which queries."""
        few, own = _some(queries), _some(self._x)
        near = torch.zeros(len(queries), len(self._x), dtype=torch.bool)
        for p, radius in self._balls:
            near |= _distances(few, own, p) <= radius * (1 + _ROUNDING) + _ROUNDING
        for pairs in near.nonzero().split(_PAIRS):
            query, example = pairs.T
            near[query, example] = self._threat.contains(self._x[example], queries[query])
        return near

    def _nearest(self, queries: Tensor) -> Tensor:
        """(m,) int64: the nearest example of each query, in shares of the threat's radius."""
        wide, own = queries.flatten(1), self._x.flatten(1)
        shares = torch.stack([_distances(wide, own, p) / radius for p, radius in self._balls])
        return shares.amin(dim=0).argmin(dim=1)


def check_all(cost: int, left: int) -> None:
    """Raises BudgetExhausted when a batch costs more rows than are left: it is paid whole, or not at all."""
    if cost > left:
        raise BudgetExhausted(f"the batch costs {cost:,} rows and {left:,} are left; nothing was charged")


def check_each(spending: Tensor, left: Tensor) -> None:
    """The same for the rows (n,) that a batch takes from each example."""
    short = (left < spending).nonzero()[:, 0].tolist()
    if short:
        first = ", ".join(f"{row}: {int(spending[row]):,} of {int(left[row]):,}" for row in short[:_NAMED])
        more = ", ..." if len(short) > _NAMED else ""
        raise BudgetExhausted(
            f"the batch costs {len(short)} examples more rows than they have left (position: cost of left; {first}{more}); "
            "nothing was charged"
        )


def _balls(threat: Threat) -> list[tuple[float, float]]:
    """(p, radius) of balls that together hold the set, to look for pairs that are near."""
    balls = threat.balls()
    if not balls:
        what = f'a query does not show whose "{threat.kind}" set holds it.'
        raise InputError(what, where="access", help='Leave sharing at "pooled" and outside at "answered".')
    return balls


def _some(images: Tensor) -> Tensor:
    """(n, k) a few coordinates of the first channel, evenly apart: no pixel is counted twice."""
    plane = images[:, 0].flatten(1) if images.dim() > 2 else images
    return plane[:, :: max(1, plane.shape[1] // _COORDINATES)]


def _distances(queries: Tensor, own: Tensor, p: float) -> Tensor:
    """(m, n) p-norms of all differences; p = 0 counts what differs."""
    return torch.cdist(queries, own, p=p, compute_mode="donot_use_mm_for_euclid_dist")
