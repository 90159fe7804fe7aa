"""Random search for a patch: where it lies and what it shows, from scores (Croce et al. 2022, "Sparse-RS", algorithm 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.losses import margin
from evaluator.attacks.patches import pasted, patch_of, places_in
from evaluator.attacks.queries import Queries
from evaluator.attacks.registry import register
from evaluator.attacks.rows import choose
from evaluator.attacks.validation import at_least
from evaluator.draws import Draws
from evaluator.threats.base import Threat

_MOVES = 5  # every so many proposals the patch moves


@register("patch_rs", title="Patch-RS", access="scores", threats=("patch", "physical"), paper="Croce et al. 2022, alg. 3")
@dataclass(frozen=True)
class PatchRS(Attack):
    """A patch of random corner colors that moves, or gets a window of another color, where that raises the margin loss.

    queries: model rows per example, the clean look included. starts: random places and contents tried first; the search
    goes on from the worst of them. Windows and moves shrink as the queries go. Under a physical threat its base must be a
    patch.
    """

    queries: int = 1000
    starts: int = 50

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries, starts=self.starts)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        patch, best = patch_of(threat), batch.x.clone()
        queries = Queries(model, batch, threat, self.queries)
        rows, device = torch.arange(len(batch), device=batch.x.device), batch.x.device
        if not len(rows):
            return best
        down, across = places_in(patch, batch.x)
        place = torch.zeros(len(batch), 2, dtype=torch.int64, device=device)
        content = batch.x.new_zeros(len(batch), batch.x.shape[1], patch.side, patch.side)
        loss, fell = queries.judge(rows, best, margin)
        best_value = torch.full_like(loss, -torch.inf)
        rows = rows[~fell]
        for step in range(self.queries - 1):
            if not len(rows):
                break
            draws = batch.draws.fork(step)[rows]
            if step < min(self.starts, self.queries // 4):
                moved = (draws.uniform(2) * torch.tensor([down, across], device=device)).long()
                shown = (draws.uniform(*content.shape[1:]) < 0.5).to(content)
            else:
                share = 1 - step / self.queries
                moved, shown = self._proposal(place[rows], content[rows], draws, share, step % _MOVES == 0, down, across)
            points = pasted(patch, batch.x[rows], moved, shown)
            values, success = queries.judge(rows, points, margin)
            better = success | (values > best_value[rows])
            best_value[rows] = torch.where(better, values, best_value[rows])
            place[rows], content[rows] = choose(better, moved, place[rows]), choose(better, shown, content[rows])
            best[rows] = choose(better, points, best[rows])
            rows = rows[~success]
        return best

    @staticmethod
    def _proposal(
        place: Tensor, content: Tensor, draws: Draws, share: float, moves: bool, down: int, across: int
    ) -> tuple[Tensor, Tensor]:
        """The patch moved, by less and less, or with a window of a new corner color."""
        if moves and down * across > 1:
            reach = max(share * max(down, across) / 2, 1.0)
            shift = ((2 * draws.uniform(2) - 1) * (reach + 0.5)).round().long()
            last = torch.tensor([down - 1, across - 1], device=place.device)
            return torch.minimum((place + shift).clamp_min(0), last), content
        side, channels = content.shape[2], content.shape[1]
        extent = max(math.ceil(share * side / 2), 1)
        corner = (draws.uniform(2) * (side - extent + 1)).long()
        number = torch.arange(side, device=place.device)
        tall = (number >= corner[:, :1]) & (number < corner[:, :1] + extent)
        wide = (number >= corner[:, 1:]) & (number < corner[:, 1:] + extent)
        window = (tall[:, :, None] & wide[:, None, :])[:, None]
        color = (draws.uniform(channels) < 0.5).to(content)[:, :, None, None]
        same = (torch.where(window, color, content) == content).flatten(1).all(dim=1)
        color = torch.where(same[:, None, None, None], 1 - color, color)
        return place, torch.where(window, color, content)
