"""One example's network over its unstable ReLUs alone: what branch and bound works on.

Where every stable ReLU is the identity or zero, an unstable one's input is an affine function of the network's input x and of
the unstable ReLUs' outputs r before it.  That is z = A x + B r + c,  r = max(z, 0),  B strictly lower triangular in blocks,
one block a ReLU layer. The same holds for the margins. Convolutions become matrix products of a few hundred rows, and a
neuron that better bounds make stable is substituted away. Exact in real arithmetic; computed in float64.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from evaluator.certify.graph import Graph
from evaluator.certify.ibp import Bounds
from evaluator.certify.inputs import InputSet
from evaluator.certify.ops import Affine, Relu, size

_DENSE = 0.15  # share of entries from which a matrix is not worth storing as a sparse one
_CHUNK = 1 << 22  # numbers of the widest layer held at a time


@dataclass(frozen=True, eq=False)
class Rows:
    """Affine functions of x and r: on_input (m, d), on_relus (m, u), constant (m,)."""

    on_input: Tensor
    on_relus: Tensor
    constant: Tensor

    def __len__(self) -> int:
        return len(self.constant)

    def __getitem__(self, keep: Tensor | slice) -> Rows:
        return Rows(self.on_input[keep], self.on_relus[keep], self.constant[keep])

    def __neg__(self) -> Rows:
        return Rows(-self.on_input, -self.on_relus, -self.constant)

    def to(self, dtype: torch.dtype) -> Rows:
        """The same functions in another dtype."""
        return Rows(self.on_input.to(dtype), self.on_relus.to(dtype), self.constant.to(dtype))

    def plus(self, other: Rows, factor: Tensor) -> Rows:
        """Each function plus factor (m,) times the single function `other`."""
        column = factor[:, None]
        return Rows(
            torch.addcmul(self.on_input, column, other.on_input),
            torch.addcmul(self.on_relus, column, other.on_relus),
            torch.addcmul(self.constant, factor, other.constant),
        )

    def at(self, x: Tensor, r: Tensor) -> Tensor:
        """(n, m): the values at points x (n, d) with ReLU outputs r (n, u)."""
        return x @ self.on_input.T + r @ self.on_relus.T + self.constant

    @cached_property
    def narrow(self) -> Rows:
        """The same in float32."""
        return self.to(torch.float32)

    @cached_property
    def _seen(self) -> tuple[Tensor, Tensor]:
        """The first rows, which see little of the input, as a sparse matrix (m', d), and its transpose."""
        wide = (self.on_input.count_nonzero(dim=1) > _DENSE * self.on_input.shape[1]).nonzero()
        local = self.on_input[: int(wide[0]) if len(wide) else len(self)]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            return local.to_sparse_csr(), local.T.contiguous().to_sparse_csr()

    def to_input(self, passed: Tensor) -> Tensor:
        """(n, d): coefficients (n, m) of the functions as coefficients of the input, passed @ on_input."""
        back = self._seen[1]
        count = back.shape[1]
        if not count:
            return passed @ self.on_input
        found = back @ passed[:, :count].T.contiguous()  # (d, n) in memory, as `from_input` wants a point made from it
        return found.addmm_(self.on_input[count:].T, passed[:, count:].T).T

    def from_input(self, x: Tensor) -> Tensor:
        """(n, m): what points x (n, d) alone give to the functions' values, x @ on_input^T."""
        ahead = self._seen[0]
        rest = x @ self.on_input[len(ahead) :].T
        return rest if not len(ahead) else torch.cat([(ahead @ x.T.contiguous()).T, rest], dim=1)

    @staticmethod
    def cat(parts: list[Rows]) -> Rows:
        """All functions of several lists."""
        return Rows(*(torch.cat([getattr(part, name) for part in parts]) for name in ("on_input", "on_relus", "constant")))


@dataclass(frozen=True, eq=False)
class Envelope:
    """Upper bounds of some ReLUs' outputs: r[at] <= rows wherever the neurons' bounds hold. at: (k,) neurons, in order.

    rounds: how often it was renewed (see `evaluator.certify.envelope`).
    """

    at: Tensor
    rows: Rows
    rounds: int

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True, eq=False)
class Reduced:
    """The unstable neurons of one example: z as `neurons` (u), lower <= z <= upper (u,), and each layer's columns.

    envelope: what is known of their outputs beyond that; its rows see pixels and outputs of earlier layers only.
    """

    inputs: InputSet
    neurons: Rows
    lower: Tensor
    upper: Tensor
    layers: tuple[slice, ...]
    envelope: Envelope

    def __len__(self) -> int:
        return len(self.lower)

    @cached_property
    def narrow(self) -> Reduced:
        """The same network in float32."""
        bounds = (self.lower.float(), self.upper.float())
        envelope = replace(self.envelope, rows=self.envelope.rows.narrow)
        return Reduced(self.inputs.to(torch.float32), self.neurons.narrow, *bounds, self.layers, envelope)

    @cached_property
    def bent(self) -> tuple[slice, ...]:
        """Each layer's rows in the envelope."""
        stops = torch.searchsorted(self.envelope.at, torch.tensor([part.stop for part in self.layers])).tolist()
        return tuple(slice(start, stop) for start, stop in pairwise([0, *stops]))


@dataclass(frozen=True, eq=False)
class Columns:
    """Where the unstable neurons of a ReLU node stand: positions within the layer, and the columns they take in r."""

    positions: Tensor
    columns: slice


def unstable_columns(bounds: dict[int, Bounds]) -> dict[int, Columns]:
    """The columns of one example's unstable neurons, per ReLU node in order."""
    found: dict[int, Columns] = {}
    count = 0
    for node, box in bounds.items():
        positions = ((box.lower < 0) & (box.upper > 0)).reshape(-1).nonzero().squeeze(1)
        found[node] = Columns(positions, slice(count, count + len(positions)))
        count += len(positions)
    return found


def affine_rows(
    graph: Graph, node: int, rows: Tensor, bounds: dict[int, Bounds], unstable: dict[int, Columns], inputs: InputSet
) -> Rows:
    """rows . value(node) as functions of x and r. rows: (1, m, *shape of node)."""
    m, total = rows.shape[1], max((part.columns.stop for part in unstable.values()), default=0)
    constant, on_relus = torch.zeros(m, dtype=rows.dtype), torch.zeros(m, total, dtype=rows.dtype)
    gathered: dict[int, Tensor] = {node: rows}
    for i in range(node, 0, -1):
        a = gathered.pop(i, None)
        if a is None:
            continue
        op, sources = graph.nodes[i].op, graph.nodes[i].inputs
        if isinstance(op, Affine):
            shift = op.shift()
            if shift is not None:
                constant = constant + (a * shift).flatten(2).sum(dim=2)[0]
            a = op.transpose(a)
        elif isinstance(op, Relu):
            on_relus[:, unstable[i].columns] += a[0].flatten(1)[:, unstable[i].positions]
            a = a * (bounds[i].lower >= 0).to(a.dtype).unsqueeze(1)
        for source in sources:
            gathered[source] = gathered[source] + a if source in gathered else a
    on_input = gathered[0][0].flatten(1) if 0 in gathered else torch.zeros(m, inputs.x.numel(), dtype=rows.dtype)
    return Rows(on_input, on_relus, constant)


def reduce_network(graph: Graph, bounds: dict[int, Bounds], inputs: InputSet, margins: Tensor) -> tuple[Reduced, Rows]:
    """The reduced network of a single example and its margins (rows (1, k, K) of the logits) over it.

    bounds: of every ReLU's input, keyed by the ReLU's position, (1, *shape).
    """
    unstable = unstable_columns(bounds)
    step = max(1, _CHUNK // max(size(node.op.shape) for node in graph.nodes))
    parts = []
    for node, entry in unstable.items():
        source = graph.nodes[node].inputs[0]
        shape = graph.shape(source)
        for positions in entry.positions.split(step):
            units = torch.zeros(len(positions), size(shape), dtype=margins.dtype)
            units[torch.arange(len(positions)), positions] = 1.0
            parts.append(affine_rows(graph, source, units.reshape(1, -1, *shape), bounds, unstable, inputs))
    target = affine_rows(graph, len(graph) - 1, margins, bounds, unstable, inputs)

    def ends(end: str) -> Tensor:
        values = [getattr(bounds[node], end).reshape(-1)[entry.positions] for node, entry in unstable.items()]
        return torch.cat([margins.new_zeros(0), *values])

    layers = tuple(entry.columns for entry in unstable.values())
    none = Envelope(torch.zeros(0, dtype=torch.int64), target[:0], 0)
    return Reduced(inputs, Rows.cat([target[:0], *parts]), ends("lower"), ends("upper"), layers, none), target


@dataclass(frozen=True, eq=False)
class Settled:
    """A network without the neurons that became stable, a function over it, and which neurons are left (positions)."""

    network: Reduced
    target: Rows
    left: Tensor


def settle(network: Reduced, target: Rows, fixed: Tensor) -> Settled:
    """Substitutes neurons whose bounds have left 0 behind, save those that are `fixed` (u,) by a split."""
    active, kept = (network.lower >= 0) & ~fixed, ((network.lower < 0) & (network.upper > 0)) | fixed
    left = kept.nonzero().squeeze(1)
    if len(left) == len(network):
        return Settled(network, target, left)
    rows = network.neurons
    on_input, on_relus, constant = rows.on_input.clone(), rows.on_relus * (active | kept), rows.constant.clone()
    for columns in network.layers:
        before = active[: columns.start].nonzero().squeeze(1)  # themselves free of active neurons by now
        weight = on_relus[columns][:, before]
        on_input[columns] += weight @ on_input[before]
        constant[columns] += weight @ constant[before]
        on_relus[columns] = on_relus[columns].index_fill(1, before, 0.0) + weight @ on_relus[before]
    gone = active.nonzero().squeeze(1)

    def resolved(of: Rows) -> Rows:
        weight = of.on_relus[:, gone]
        return Rows(
            of.on_input + weight @ on_input[gone],
            of.on_relus[:, left] + weight @ on_relus[gone][:, left],
            of.constant + weight @ constant[gone],
        )

    position, bent = kept.cumsum(dim=0) - 1, kept[network.envelope.at]
    rows = resolved(network.envelope.rows[bent])
    envelope = Envelope(position[network.envelope.at[bent]], rows, network.envelope.rounds)
    ends = list(accumulate((int(kept[columns].sum()) for columns in network.layers), initial=0))
    layers = tuple(slice(start, end) for start, end in pairwise(ends))
    neurons = Rows(on_input[left], on_relus[left][:, left], constant[left])
    bounds = network.lower[left], network.upper[left]
    return Settled(Reduced(network.inputs, neurons, *bounds, layers, envelope), resolved(target), left)
