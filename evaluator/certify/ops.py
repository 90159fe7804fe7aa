"""The layers that bounds can be propagated through, reduced to a few kinds of node.

Affine nodes know their forward, the same with |W| instead of W, and their transpose. That is all interval bounds
(forward) and linear relaxations (backward) need. Tensors are batched: (n, *shape), and the transposes take cotangents
(n, specs, *shape). All arithmetic is in the dtype of the weights (float64 for certificates).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Op:
    """A node's operation; `shape` is its output shape without the batch."""

    shape: Shape


@dataclass(frozen=True, eq=False)
class Input(Op):
    """The network's input."""


@dataclass(frozen=True, eq=False)
class Affine(Op):
    """y = W x + b, with W given by its actions."""

    def linear(self, x: Tensor) -> Tensor:
        """W x."""
        raise NotImplementedError

    def absolute(self, x: Tensor) -> Tensor:
        """|W| x."""
        raise NotImplementedError

    def transpose(self, a: Tensor) -> Tensor:
        """W^T a for cotangents a (n, specs, *shape)."""
        raise NotImplementedError

    def shift(self) -> Tensor | None:
        """b, broadcastable to `shape`; None for zero."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """W x + b."""
        shift = self.shift()
        return self.linear(x) if shift is None else self.linear(x) + shift


@dataclass(frozen=True, eq=False)
class Linear(Affine):
    """weight (out, in), bias (out,) or None; input (n, in)."""

    weight: Tensor
    bias: Tensor | None

    def linear(self, x: Tensor) -> Tensor:
        return x @ self.weight.T

    def absolute(self, x: Tensor) -> Tensor:
        return x @ self.weight.abs().T

    def transpose(self, a: Tensor) -> Tensor:
        return a @ self.weight

    def shift(self) -> Tensor | None:
        return self.bias


@dataclass(frozen=True, eq=False)
class Conv(Affine):
    """A 2-D convolution with zero padding; weight (out, in / groups, kh, kw), input of shape `source`."""

    weight: Tensor
    bias: Tensor | None
    source: Shape
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def _apply(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.conv2d(x, weight, None, self.stride, self.padding, self.dilation, self.groups)

    def linear(self, x: Tensor) -> Tensor:
        return self._apply(x, self.weight)

    def absolute(self, x: Tensor) -> Tensor:
        return self._apply(x, self.weight.abs())

    def transpose(self, a: Tensor) -> Tensor:
        kernel = self.weight.shape[2:]
        extra = [
            self.source[1 + i] - ((self.shape[1 + i] - 1) * self.stride[i] - 2 * self.padding[i])
            - self.dilation[i] * (kernel[i] - 1) - 1
            for i in (0, 1)
        ]  # fmt: skip
        wide = a.reshape(-1, *self.shape)
        back = functional.conv_transpose2d(
            wide, self.weight, None, self.stride, self.padding, extra, self.groups, self.dilation
        )
        return back.reshape(*a.shape[:2], *self.source)

    def shift(self) -> Tensor | None:
        return None if self.bias is None else self.bias.reshape(-1, 1, 1)


@dataclass(frozen=True, eq=False)
class Scale(Affine):
    """Elementwise scale * x + offset (normalisation, batch norm in evaluation, negation); broadcast over `shape`."""

    scale: Tensor
    offset: Tensor | None

    def linear(self, x: Tensor) -> Tensor:
        return x * self.scale

    def absolute(self, x: Tensor) -> Tensor:
        return x * self.scale.abs()

    def transpose(self, a: Tensor) -> Tensor:
        return a * self.scale

    def shift(self) -> Tensor | None:
        return self.offset


@dataclass(frozen=True, eq=False)
class Reshape(Affine):
    """A change of shape from `source`."""

    source: Shape

    def linear(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), *self.shape)

    def absolute(self, x: Tensor) -> Tensor:
        return self.linear(x)

    def transpose(self, a: Tensor) -> Tensor:
        return a.reshape(*a.shape[:2], *self.source)

    def shift(self) -> Tensor | None:
        return None


@dataclass(frozen=True, eq=False)
class Add(Op):
    """The sum of two nodes (residual connections)."""


@dataclass(frozen=True, eq=False)
class Relu(Op):
    """max(x, 0)."""


@dataclass(frozen=True, eq=False)
class MaxPool(Op):
    """2-D max pooling; linear relaxations see it as sums of ReLUs instead (see `evaluator.certify.tracing`)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    def forward(self, x: Tensor) -> Tensor:
        return functional.max_pool2d(x, self.kernel, self.stride, self.padding)


@dataclass(frozen=True, eq=False)
class MaxMin(Op):
    """Sorts pairs of channels (GroupSort 2, Anil et al. 2019): a permutation of the input, so 1-Lipschitz."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=1)
        return torch.cat([torch.maximum(first, second), torch.minimum(first, second)], dim=1)


def forward_op(op: Op, inputs: list[Tensor]) -> Tensor:
    """Runs one node on the values of its inputs."""
    match op:
        case Affine():
            return op.forward(inputs[0])
        case Add():
            return inputs[0] + inputs[1]
        case Relu():
            return inputs[0].clamp_min(0)
        case MaxPool() | MaxMin():
            return op.forward(inputs[0])
    raise TypeError(f"{type(op).__name__} is not computed from inputs")


def size(shape: Shape) -> int:
    """Number of elements."""
    return math.prod(shape)
