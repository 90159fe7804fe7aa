"""A network as a small graph of bounded operations (`evaluator.certify.ops`), in topological order."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from evaluator.certify.ops import Add, Affine, Op, Relu, Shape, forward_op


@dataclass(frozen=True, eq=False)
class Node:
    """One operation, the positions of its inputs in the graph, and the layer it came from (for messages)."""

    op: Op
    inputs: tuple[int, ...]
    name: str


@dataclass(eq=False)
class Graph:
    """Nodes in topological order; node 0 is the input, the last one the logits."""

    nodes: list[Node] = field(default_factory=list)

    def add(self, op: Op, inputs: tuple[int, ...], name: str) -> int:
        """Appends a node and returns its position."""
        self.nodes.append(Node(op, inputs, name))
        return len(self.nodes) - 1

    def __len__(self) -> int:
        return len(self.nodes)

    def shape(self, node: int) -> Shape:
        """Output shape of a node, without the batch."""
        return self.nodes[node].op.shape

    def relus(self) -> list[int]:
        """Positions of the ReLU nodes, in order."""
        return [i for i, node in enumerate(self.nodes) if isinstance(node.op, Relu)]

    def forward(self, x: Tensor) -> list[Tensor]:
        """The value of every node on inputs x (n, *shape)."""
        values: list[Tensor] = [x]
        for node in self.nodes[1:]:
            values.append(forward_op(node.op, [values[i] for i in node.inputs]))
        return values

    def affine_nodes(self) -> set[int]:
        """Nodes that are an affine function of the input (no nonlinearity before them)."""
        found = {0}
        for i, node in enumerate(self.nodes):
            if isinstance(node.op, Affine | Add) and all(j in found for j in node.inputs):
                found.add(i)
        return found
