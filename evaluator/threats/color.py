"""A functional color map: all pixels of one color move alike (ReColorAdv).

Laidlaw and Feizi 2019, "Functional Adversarial Attacks", sec. 4, in RGB (the paper also uses CIELUV); on one channel it
is a map of intensities. The paper penalises rough maps; here smoothness is a hard budget.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.manifests.threat_base import ThreatSpec
from evaluator.manifests.threat_specs import ColorSpec
from evaluator.threats.base import Threat, check_epsilon, flat, per_example, pulled, rows, settled
from evaluator.threats.traits import Trait

_CYCLES = 500  # of Dykstra's algorithm, at most
_CHECK = 5  # cycles between looks at which rows are done
_TOLERANCE = 1e-6  # of epsilon: a row of which no cycle moves anything farther is done
_SWEEPS = 64  # of the Gibbs sampler


@dataclass(frozen=True)
class Color(Threat):
    """A point is the map's displacement at the nodes of a regular grid of colors: (n, C, nodes, ..., nodes), C axes.

    Between nodes it is interpolated multilinearly: color c becomes clip(c + displacement(c)). epsilon: the largest change
    of any channel at any node, in [0, 1] units. smoothness: how much neighboring nodes' displacements may differ (2 *
    epsilon or more sets no limit). A point's norm is the larger of max |displacement| and epsilon / smoothness * max
    |difference of neighbors|.
    """

    epsilon: float
    smoothness: float
    nodes: int = 8
    kind = "color"
    traits = frozenset({Trait.WHOLE, Trait.STAYS})

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon, kind=self.kind)
        check_epsilon(self.smoothness / self.epsilon, kind=f"{self.kind}: smoothness / epsilon")
        if not 2 <= self.nodes <= 32:
            raise InputError(f"nodes must lie between 2 and 32, got {self.nodes}.", where="threat color")

    @classmethod
    def of(cls, spec: ThreatSpec) -> Self:
        assert isinstance(spec, ColorSpec)
        return cls(spec.epsilon, spec.epsilon if spec.smoothness is None else spec.smoothness, nodes=spec.nodes)

    def start(self, x: Tensor) -> Tensor:
        if x.dim() < 3 or not 1 <= x.shape[1] <= 3:
            raise InputError(f"images must have 1 to 3 channels on dimension 1, got {tuple(x.shape)}.", where="threat color")
        channels = x.shape[1]
        return x.new_zeros(len(x), channels, *[self.nodes] * channels)

    def apply(self, x: Tensor, z: Tensor) -> Tensor:
        """Maps every pixel's color; the zero grid gives x bit for bit."""
        channels = x.shape[1]
        position = x.flatten(2) * (self.nodes - 1)
        cell = position.detach().floor().long().clamp(0, self.nodes - 2)
        along = position - cell
        values, shift = z.flatten(2), torch.zeros_like(position)
        for corner in itertools.product((0, 1), repeat=channels):
            weight = torch.ones_like(position[:, :1])
            index = torch.zeros_like(cell[:, :1])
            for channel, side in enumerate(corner):
                part = along[:, channel : channel + 1]
                weight = weight * (part if side else 1 - part)
                index = index * self.nodes + cell[:, channel : channel + 1] + side
            shift = shift + weight * values.gather(2, index.expand(-1, channels, -1))
        return (x + shift.reshape(x.shape)).clamp(0, 1)

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        """The nearest grid within both budgets, by Dykstra's algorithm (Boyle and Dykstra 1986) on the C grids apart.

        It alternates between the cube and, along each axis, the even and the odd pairs of neighbors, which are projected
        on in closed form. What it leaves outside after 500 cycles is contracted into the set. The distance to z exceeds
        the smallest one by less than 1e-5 of itself after a step of an attack, and by 0.05 % from several epsilon away.
        """
        inside = self.distance(x, z) <= self.epsilon
        if settled(inside):
            return z
        point = self._contracted(self._dykstra(z.double())).to(z.dtype)
        point = pulled(point, torch.zeros_like(point), point.double().abs() > self.epsilon)
        return torch.where(rows(inside, z), z, point)

    def _dykstra(self, grid: Tensor) -> Tensor:
        """(n, C, nodes, ...) float64: the nearest point of the set but for rounding; every row stops when it is done.

        The correction that Dykstra keeps for a set is what its last projection took away: for pairs, the same amount up
        at one node and down at the other. A row is done when neither it nor its corrections move: the grid alone may rest
        far from the answer while the corrections still grow.
        """
        if self.smoothness >= 2 * self.epsilon:
            return grid.clamp(-self.epsilon, self.epsilon)
        result, grid = torch.empty_like(grid), _nodes_first(grid)
        active = torch.arange(len(result), device=grid.device)
        sets = [(axis, first) for axis in range(grid.dim() - 2) for first in (0, 1) if grid.shape[axis] - first > 1]
        over, apart = torch.zeros_like(grid), [torch.zeros_like(_pairs(grid, *part)[0]) for part in sets]
        for cycle in range(_CYCLES):
            wanted, before = grid + over, over
            grid, over = wanted.clamp(-self.epsilon, self.epsilon), functional.softshrink(wanted, self.epsilon)
            moves = []
            for number, part in enumerate(sets):
                left, right = _pairs(grid, *part)
                excess = functional.softshrink((right - left).add_(apart[number]), self._gap)
                move = excess - apart[number]  # twice what each node moves, as `apart` is twice the correction
                left.add_(move, alpha=0.5)
                right.sub_(move, alpha=0.5)
                apart[number] = excess
                moves.append(move)
            if cycle % _CHECK == 0:
                farthest = [_farthest(over - before), *(_farthest(move) / 2 for move in moves)]
                going = torch.stack(farthest).amax(dim=0) > _TOLERANCE * self.epsilon
                if not bool(going.all()):
                    result[active] = _rows_first(grid)
                    if not bool(going.any()):
                        return result
                    grid, over, active = grid[..., going], over[..., going], active[going]
                    apart = [correction[..., going] for correction in apart]
        result[active] = _rows_first(grid)
        return result

    def _contracted(self, grid: Tensor) -> Tensor:
        """The largest multiple (at most 1) of each row inside the set, with room for rounding to float32."""
        size, gap = flat(grid).abs().amax(dim=1), self._largest_gap(grid)
        factor = torch.minimum(self.epsilon / size.clamp_min(self.epsilon), self._gap / gap.clamp_min(self._gap))
        return grid * rows(factor, grid)

    @property
    def _gap(self) -> float:
        """Smoothness less what rounding two neighbors to float32 may add to their difference."""
        return max(self.smoothness - 2.0**-22 * self.epsilon, self.smoothness / 2)

    @staticmethod
    def _largest_gap(grid: Tensor) -> Tensor:
        return torch.stack([flat(grid.diff(dim=axis)).abs().amax(dim=1) for axis in range(2, grid.dim())]).amax(dim=0)

    def random_start(self, x: Tensor, draws: Draws) -> Tensor:
        """A Gibbs chain of 64 sweeps from the zero grid: its stationary law is uniform in the set.

        Given its neighbors, a node is uniform on an interval; the nodes of one color of a checkerboard are independent.
        Without a smoothness limit every node is drawn from the cube at once, and the start is exactly uniform.
        """
        grid = self.start(x).double()
        shape = grid.shape[1:]
        numbers = torch.meshgrid(*[torch.arange(self.nodes, device=x.device)] * (grid.dim() - 2), indexing="ij")
        parity = torch.stack(numbers).sum(dim=0) % 2
        grid, parity = _nodes_first(grid), parity[..., None, None]
        for _ in range(_SWEEPS if self.smoothness < 2 * self.epsilon else 1):
            share = _nodes_first(draws.uniform(*shape).double())
            for color in (0, 1):
                low, high = self._interval(grid)
                grid = torch.where(parity == color, low + (high - low) * share, grid)
        return self.project(x, _rows_first(grid).to(x.dtype))

    def _interval(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Where each node of the grid (nodes, ..., C, n) may lie, given its neighbors."""
        smallest, largest = torch.full_like(grid, torch.inf), torch.full_like(grid, -torch.inf)
        for axis in range(grid.dim() - 2):
            size = grid.shape[axis] - 1
            for own, other in ((0, 1), (1, 0)):
                neighbor = grid.narrow(axis, other, size)
                least, most = smallest.narrow(axis, own, size), largest.narrow(axis, own, size)
                torch.minimum(least, neighbor, out=least)
                torch.maximum(most, neighbor, out=most)
        return largest.sub_(self._gap).clamp_min_(-self.epsilon), smallest.add_(self._gap).clamp_max_(self.epsilon)

    def steepest_step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        """The steepest step in the largest displacement; smoothness is left to `project`, as the box is for balls."""
        return gradient.sign() * per_example(size, gradient)

    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        grid = z.double()
        return torch.maximum(flat(grid).abs().amax(dim=1), self._largest_gap(grid) * (self.epsilon / self.smoothness))


def _nodes_first(grid: Tensor) -> Tensor:
    """(n, C, nodes, ...) -> (nodes, ..., C, n): neighbors along every axis are whole blocks of memory."""
    return grid.permute(*range(2, grid.dim()), 1, 0).contiguous()


def _rows_first(grid: Tensor) -> Tensor:
    """(nodes, ..., C, n) -> (n, C, nodes, ...)."""
    return grid.permute(grid.dim() - 1, grid.dim() - 2, *range(grid.dim() - 2)).contiguous()


def _farthest(move: Tensor) -> Tensor:
    """(n,) the largest absolute value of each row of (nodes, ..., C, n)."""
    return move.abs().flatten(0, -2).amax(dim=0)


def _pairs(grid: Tensor, axis: int, first: int) -> tuple[Tensor, Tensor]:
    """Views of the neighbors (first, first + 1), (first + 2, first + 3), ... along an axis: the left ones, the right ones."""
    count = (grid.shape[axis] - first) // 2
    pairs = grid.narrow(axis, first, 2 * count).unflatten(axis, (count, 2))
    return pairs.select(axis + 1, 0), pairs.select(axis + 1, 1)
