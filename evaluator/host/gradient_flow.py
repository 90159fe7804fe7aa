"""Where the gradient of an answer ends, read from what was computed and from the autograd graph, not from the words for it.

`Flow` follows values below torch's functions, where every operation arrives as the dispatcher sees it, by whatever name or
subclass it was called. A value that depends on the input and that autograd does not follow is loose: `detach`, `.data`,
`no_grad` and memory shared with NumPy all make one. What is loose and flows into the answer cuts the gradient. `graph_of` reads
the graph of the answer: operations whose derivative is zero, and functions with a backward pass of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.utils._python_dispatch import TorchDispatchMode

_FLAT = {
    "RoundBackward": "round", "FloorBackward": "floor", "CeilBackward": "ceil", "TruncBackward": "trunc",
    "SignBackward": "sign", "HeavisideBackward": "heaviside",
}  # fmt: skip
_aten = torch.ops.aten
# What they make has the input's shape, and nothing of its values.
_SHAPES = {
    _aten.empty_like, _aten.zeros_like, _aten.ones_like, _aten.full_like, _aten.rand_like, _aten.randn_like, _aten.randint_like,
    _aten.new_empty, _aten.new_zeros, _aten.new_ones, _aten.new_full, _aten.new_empty_strided,
}  # fmt: skip
_INTEGERS = {torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8}


class Flow(TorchDispatchMode):
    """While it is entered: what depends on `source`, and which of it autograd has lost sight of.

    Tensors are known by their memory, so that views and in-place changes count as what they are.
    """

    def __init__(self, source: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._held: list[Any] = []  # memory that is known must not be given out again
        self._dependent: set[int] = set()
        self._gates: set[int] = set()  # made of comparisons and indices, whose derivative is zero where it exists
        self._loose: set[int] = set()
        self._converted = 0
        self._note(source, self._dependent)

    def words(self, logits: Tensor) -> dict[str, int]:
        """What was seen on the way to `logits`, in the words of an `Inspection`."""
        said = {"detach": 1} if self._is_loose(logits) else {}
        return said | ({"to integers": self._converted} if self._converted else {})

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [tensor for tensor in _tensors((args, kwargs or {})) if self._place(tensor) in self._dependent]
        if func.overloadpacket in _SHAPES:
            given = []
        loose = any(self._is_loose(tensor) for tensor in given)
        gate = bool(given) and all(self._is_gate(tensor) for tensor in given)
        followed = any(_real(tensor) and tensor.requires_grad for tensor in given)
        result = func(*args, **(kwargs or {}))
        if given:
            for made in _tensors(result):
                self._note(made, self._dependent)
                if gate or not _real(made):
                    self._note(made, self._gates)
                if loose:
                    self._note(made, self._loose)
                self._converted += followed and made.dtype in _INTEGERS and func is torch.ops.aten._to_copy.default
        return result

    def _is_gate(self, tensor: Tensor) -> bool:
        return not _real(tensor) or self._place(tensor) in self._gates

    def _is_loose(self, tensor: Tensor) -> bool:
        if isinstance(tensor.grad_fn, BackwardCFunction):
            return False  # its inside is not followed; its gradient is compared with differences
        place = self._place(tensor)
        if place in self._loose:
            return True
        return place in self._dependent and _real(tensor) and not tensor.requires_grad and place not in self._gates

    def _place(self, tensor: Tensor) -> int:
        return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided and tensor.device.type != "meta" else 0

    def _note(self, tensor: Tensor, places: set[int]) -> None:
        place = self._place(tensor)
        if place:
            self._held.append(tensor.untyped_storage())
            places.add(place)


@dataclass(frozen=True)
class Graph:
    """The autograd graph of an answer. flat: how often each operation with a zero derivative is in it; functions: classes of
    custom Functions; leaves: places of the tensors where it ends."""

    flat: dict[str, int]
    functions: frozenset[str]
    leaves: frozenset[int]

    def reaches(self, leaf: Tensor) -> bool:
        """Whether the graph leads to that tensor."""
        return id(leaf) in self.leaves


def graph_of(logits: Tensor) -> Graph:
    """Walks the graph that ends in `logits`. Names of torch's own nodes are the engine's; a class cannot take them on."""
    flat, functions, leaves = Counter[str](), set[str](), set[int]()
    seen: dict[int, Any] = {}
    waiting: list[Any] = [logits.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen[id(node)] = node
        if isinstance(node, BackwardCFunction):
            functions.add(type(node).__name__.removesuffix("Backward"))
        elif (variable := getattr(node, "variable", None)) is not None:
            leaves.add(id(variable))
        else:
            word = _FLAT.get(node.name().rstrip("0123456789"))
            if word is not None:
                flat[word] += 1
        waiting += [before for before, _ in node.next_functions]
    return Graph(dict(flat), frozenset(functions), frozenset(leaves))


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from _tensors(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _tensors(value)


def _real(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()
