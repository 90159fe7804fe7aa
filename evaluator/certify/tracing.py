"""Reads the graph of bounded operations off a torch module, before any compute.

`trace` follows the module's forward with torch.fx and turns every layer into nodes of `evaluator.certify.ops`. A layer it
does not know is an InputError that names it. For linear relaxations and MILP, max pooling is written with ReLUs,
max(a, b) = b + relu(a - b), in a tree over each window. So everything that works for ReLU works for it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from evaluator.certify.graph import Graph
from evaluator.certify.layers import check_layers, readable
from evaluator.certify.ops import Add, Conv, Input, Linear, MaxMin, MaxPool, Relu, Reshape, Scale, Shape
from evaluator.certify.orthogonal import AOLConv2d, AOLLinear, PairSort
from evaluator.errors import InputError
from evaluator.torch_layers import LAYERS

SUPPORTED = (
    "Linear, Conv2d, ReLU, AvgPool2d, AdaptiveAvgPool2d (to a divisor), MaxPool2d, BatchNorm1d/2d, Flatten, Identity, Dropout, "
    "reshaping, addition of two branches, and adding, subtracting, multiplying or dividing by constants"
)
_RESHAPES = {torch.flatten, torch.reshape, "flatten", "view", "reshape", "squeeze", torch.squeeze}
_POOLS: dict[Any, Callable[..., nn.Module]] = {
    functional.avg_pool2d: nn.AvgPool2d,
    functional.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
    functional.max_pool2d: nn.MaxPool2d,
    torch.max_pool2d: nn.MaxPool2d,
}
_RELUS = {torch.relu, functional.relu, "relu", "relu_"}


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return readable(m) or (not list(m.children()) and type(m) in LAYERS)


class _Values(fx.Interpreter):
    """Runs the traced module once on two inputs, to learn the shape of every value."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.values: dict[str, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.values[n.name] = super().run_node(n)
        return self.values[n.name]


class _Builder:
    def __init__(self, module: fx.GraphModule, values: dict[str, Any], like: Tensor, pools: bool, attached: bool) -> None:
        self.module, self.values, self.like = module, values, like
        self.pools, self.attached = pools, attached
        self.graph = Graph()
        self.at: dict[str, int] = {}

    def build(self) -> Graph:
        for node in self.module.graph.nodes:
            if node.op == "placeholder":
                if self.at:
                    raise InputError("the network takes more than one input.", where=node.name)
                self.at[node.name] = self.graph.add(Input(self.out(node)), (), "input")
            elif node.op == "output":
                if not isinstance(node.args[0], fx.Node) or self.at.get(node.args[0].name) != len(self.graph) - 1:
                    raise InputError("the network must return its logits and nothing after or beside them.")
            elif isinstance(self.values[node.name], Tensor) and node.op != "get_attr":
                self.at[node.name] = self.visit(node)
        return self.graph

    def out(self, node: fx.Node) -> Shape:
        return tuple(self.values[node.name].shape[1:])

    def visit(self, node: fx.Node) -> int:
        name = _name(node)
        sources = [self.at[arg.name] for arg in node.args if isinstance(arg, fx.Node) and arg.name in self.at]
        if node.op == "call_module":
            layer = self.module.get_submodule(str(node.target))
            if not readable(layer):
                raise self.unknown(f"{name} ({type(layer).__name__})")
            return self.layer(layer, sources[0], node, name)
        target: Any = node.target
        if target in _RELUS:
            return self.graph.add(Relu(self.out(node)), (sources[0],), name)
        if target in _RESHAPES and len(self.values[node.name]) == 2:
            return self.graph.add(Reshape(self.out(node), self.graph.shape(sources[0])), (sources[0],), name)
        pool = _POOLS.get(target)
        if pool is not None:
            return self.layer(pool(*node.args[1:], **node.kwargs), sources[0], node, name)
        if target in {"mean", torch.mean} and len(self.graph.shape(sources[0])) == 3:
            return self.mean(node, sources[0], name)
        arithmetic = {
            operator.add: "+", operator.iadd: "+", torch.add: "+", "add": "+", operator.sub: "-", torch.sub: "-", "sub": "-",
            operator.mul: "*", torch.mul: "*", "mul": "*", operator.truediv: "/", torch.div: "/", "div": "/",
        }.get(target)  # fmt: skip
        if arithmetic and len(node.args) == 2 and not node.kwargs:
            return self.arithmetic(arithmetic, node, sources, name)
        raise self.unknown(name)

    def unknown(self, name: str) -> InputError:
        return InputError(f'no bound is known for "{name}".', where="certificate", help=f"Supported: {SUPPORTED}.")

    def layer(self, layer: nn.Module, source: int, node: fx.Node, name: str) -> int:
        shape, before = self.out(node), self.graph.shape(source)
        add, cast = self.graph.add, self.cast
        match layer:
            case nn.Identity() | nn.Dropout() | nn.Dropout2d():
                return source
            case nn.ReLU():
                return add(Relu(shape), (source,), name)
            case PairSort():
                return add(MaxMin(shape), (source,), name)
            case nn.Flatten():
                return add(Reshape(shape, before), (source,), name)
            case nn.Linear() | AOLLinear() if len(before) == 1:
                weight = layer.effective_weight() if isinstance(layer, AOLLinear) else layer.weight
                return add(Linear(shape, cast(weight), None if layer.bias is None else cast(layer.bias)), (source,), name)
            case AOLConv2d():
                pads = (layer.padding, layer.padding)
                weight = cast(layer.effective_weight())
                return add(Conv(shape, weight, cast(layer.bias), before, (1, 1), pads, (1, 1), 1), (source,), name)
            case nn.Conv2d() if layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
                bias = None if layer.bias is None else cast(layer.bias)
                stride, padding, dilation = _pair(layer.stride), _pair(layer.padding), _pair(layer.dilation)
                conv = Conv(shape, cast(layer.weight), bias, before, stride, padding, dilation, layer.groups)
                return add(conv, (source,), name)
            case nn.BatchNorm1d() | nn.BatchNorm2d() if layer.running_mean is not None and layer.running_var is not None:
                return self.batch_norm(layer, source, shape, name)
            case nn.AvgPool2d() if not layer.ceil_mode and layer.divisor_override is None:
                padding = _pair(layer.padding)
                if layer.count_include_pad or padding == (0, 0):
                    stride = _pair(layer.stride if layer.stride is not None else layer.kernel_size)
                    return self.average(source, shape, _pair(layer.kernel_size), stride, padding, name)
            case nn.AdaptiveAvgPool2d() if before[1] % shape[1] == 0 and before[2] % shape[2] == 0:
                kernel = (before[1] // shape[1], before[2] // shape[2])
                return self.average(source, shape, kernel, kernel, (0, 0), name)
            case nn.MaxPool2d() if not layer.ceil_mode and _pair(layer.dilation) == (1, 1):
                return self.max_pool(layer, source, shape, name)
        raise self.unknown(f"{name} ({type(layer).__name__})")

    def cast(self, value: Tensor) -> Tensor:
        return (value if self.attached else value.detach()).to(self.like)

    def batch_norm(self, layer: nn.BatchNorm1d | nn.BatchNorm2d, source: int, shape: Shape, name: str) -> int:
        assert layer.running_mean is not None
        assert layer.running_var is not None
        mean, variance = self.cast(layer.running_mean), self.cast(layer.running_var)
        scale = (variance + layer.eps).rsqrt()
        if layer.weight is not None:
            scale = scale * self.cast(layer.weight)
        offset = -mean * scale
        if layer.bias is not None:
            offset = offset + self.cast(layer.bias)
        broad = (-1, *[1] * (len(shape) - 1))
        return self.graph.add(Scale(shape, scale.reshape(broad), offset.reshape(broad)), (source,), name)

    def average(
        self, source: int, shape: Shape, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], name: str
    ) -> int:
        channels, before = shape[0], self.graph.shape(source)
        weight = torch.full(
            (channels, 1, *kernel), 1.0 / (kernel[0] * kernel[1]), dtype=self.like.dtype, device=self.like.device
        )
        conv = Conv(shape, weight, None, before, stride, padding, (1, 1), channels)
        return self.graph.add(conv, (source,), name)

    def mean(self, node: fx.Node, source: int, name: str) -> int:
        dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        before = self.graph.shape(source)
        if not isinstance(dims, Sequence) or {int(d) % 4 for d in dims if isinstance(d, int)} != {2, 3}:
            raise self.unknown(name)
        pooled = self.average(source, (before[0], 1, 1), (before[1], before[2]), (1, 1), (0, 0), name)
        shape = self.out(node)
        return pooled if shape == (before[0], 1, 1) else self.graph.add(Reshape(shape, (before[0], 1, 1)), (pooled,), name)

    def max_pool(self, layer: nn.MaxPool2d, source: int, shape: Shape, name: str) -> int:
        kernel, padding = _pair(layer.kernel_size), _pair(layer.padding)
        stride = _pair(layer.stride if layer.stride is not None else layer.kernel_size)
        if self.pools:
            return self.graph.add(MaxPool(shape, kernel, stride, padding), (source,), name)
        if padding != (0, 0) and not isinstance(self.graph.nodes[source].op, Relu):
            raise self.unknown(f"{name} (MaxPool2d with padding, not after a ReLU)")
        channels, before = shape[0], self.graph.shape(source)
        parts = []
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                weight = torch.zeros(channels, 1, *kernel, dtype=self.like.dtype, device=self.like.device)
                weight[:, :, i, j] = 1.0
                pick = Conv(shape, weight, None, before, stride, padding, (1, 1), channels)
                parts.append(self.graph.add(pick, (source,), name))
        minus = Scale(shape, torch.full((1,) * len(shape), -1.0, dtype=self.like.dtype, device=self.like.device), None)
        while len(parts) > 1:
            paired = []
            for a, b in zip(parts[::2], parts[1::2], strict=False):
                gap = self.graph.add(Add(shape), (a, self.graph.add(minus, (b,), name)), name)
                paired.append(self.graph.add(Add(shape), (b, self.graph.add(Relu(shape), (gap,), name)), name))
            parts = paired + parts[len(paired) * 2 :]
        return parts[0]

    def arithmetic(self, kind: str, node: fx.Node, sources: list[int], name: str) -> int:
        shape = self.out(node)
        if len(sources) == 2 and kind in "+-":
            if any(self.graph.shape(s) != shape for s in sources):
                raise self.unknown(f"{name} of different shapes")
            second = sources[1]
            if kind == "-":
                second = self.graph.add(Scale(shape, self.constant(-1.0, shape), None), (second,), name)
            return self.graph.add(Add(shape), (sources[0], second), name)
        first_is_variable = isinstance(node.args[0], fx.Node) and node.args[0].name in self.at
        other = node.args[1] if first_is_variable else node.args[0]
        value = self.values[other.name] if isinstance(other, fx.Node) else other
        if len(sources) != 1 or not isinstance(value, Tensor | int | float) or self.graph.shape(sources[0]) != shape:
            raise self.unknown(f"{name} of two variables" if len(sources) == 2 else name)
        constant, one = self.constant(value, shape), self.constant(1.0, shape)
        match kind, first_is_variable:
            case "+", _:
                op = Scale(shape, one, constant)
            case "-", True:
                op = Scale(shape, one, -constant)
            case "-", False:
                op = Scale(shape, -one, constant)
            case "*", _:
                op = Scale(shape, constant, None)
            case "/", True:
                op = Scale(shape, constant.reciprocal(), None)
            case _:
                raise self.unknown("division by a variable")
        return self.graph.add(op, (sources[0],), name)

    def constant(self, value: Tensor | float, shape: Shape) -> Tensor:
        """A constant as a tensor with as many dimensions as `shape` (a batch dimension of one is dropped)."""
        tensor = self.cast(torch.as_tensor(value))
        while tensor.dim() > len(shape) and tensor.shape[0] == 1:
            tensor = tensor[0]
        if tensor.dim() > len(shape):
            raise self.unknown("a constant that differs between examples")
        return tensor.reshape(*[1] * (len(shape) - tensor.dim()), *tensor.shape)


def _name(node: fx.Node) -> str:
    """The layer, or the operation and the innermost module whose forward asks for it."""
    if node.op == "call_module":
        return str(node.target)
    operation = getattr(node.target, "__name__", str(node.target))
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return operation
    path, kind = stack[-1]
    return f"{operation} in {path} ({getattr(kind, '__name__', kind)})"


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def trace(
    model: Callable[[Tensor], Tensor],
    shape: Shape,
    *,
    dtype: torch.dtype = torch.float64,
    pools: bool = False,
    attached: bool = False,
) -> Graph:
    """The graph of `model` for inputs (n, *shape).

    pools: keep max pooling as one node (interval and Lipschitz bounds) instead of writing it with ReLUs. The weights are
    copied in `dtype`; with `attached` they stay connected to the model's parameters, for training, which may then be in
    training mode (batch norm uses its running statistics all the same). Raises InputError for a model that is not an
    nn.Module in evaluation mode, cannot be traced, has hooks or replaced methods, or a layer without a known bound, naming it.
    """
    if not isinstance(model, nn.Module):
        raise InputError("bounds need the network itself (an nn.Module), not a black box.", where="certificate")
    if not attached and any(part.training for part in model.modules()):
        raise InputError("the model is in training mode.", help="Call model.eval() before certifying.")
    check_layers(model)
    try:
        traced = fx.GraphModule(model, _Tracer().trace(model))
    except Exception as error:
        raise InputError(
            f"the network's forward cannot be followed: {error}.",
            where="certificate",
            help=f"Write it without control flow that depends on the input. Supported: {SUPPORTED}.",
        ) from error
    parameter = next(model.parameters(), None)
    like = torch.zeros(()) if parameter is None else parameter
    sample = torch.zeros(2, *shape, dtype=like.dtype, device=like.device)
    values = _Values(traced)
    with torch.no_grad():
        values.run(sample)
    return _Builder(
        traced, values.values, (like.detach() if attached else like.detach().cpu()).to(dtype), pools, attached
    ).build()
