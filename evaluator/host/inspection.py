"""A look into a loaded submission: operations without a gradient, gradients computed in forward(), parts that misstate theirs.

Runs in the submission's process, which may sabotage it: what it tells is evidence against an entry, never for it. The
scorer therefore reads it as `Inspection`, whose words are its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from evaluator.host.gradient_flow import Flow, graph_of
from evaluator.torch_layers import custom, submodules

CUTTING = {
    torch.round: "round", Tensor.round: "round", torch.floor: "floor", Tensor.floor: "floor",
    torch.ceil: "ceil", Tensor.ceil: "ceil", torch.trunc: "trunc", Tensor.trunc: "trunc",
    torch.sign: "sign", Tensor.sign: "sign", torch.heaviside: "heaviside", Tensor.heaviside: "heaviside",
    torch.detach: "detach", Tensor.detach: "detach", Tensor.long: "to integers", Tensor.int: "to integers",
}  # fmt: skip
BENDING = {
    torch.where: "where", Tensor.where: "where", torch.argmax: "argmax", Tensor.argmax: "argmax",
    torch.argmin: "argmin", Tensor.argmin: "argmin",
}  # fmt: skip
LEAVING: dict[object, str] = {Tensor.numpy: "NumPy", Tensor.__array__: "NumPy"}
WORDS = frozenset({*CUTTING.values(), *BENDING.values(), *LEAVING.values()})
HARD = frozenset({*CUTTING.values(), *LEAVING.values()})
DIRECTIONS = 6
STEPS = (1e-2, 1e-1)  # of a part's input, relative to its root mean square: low precision rounds the smaller one away
COSINE = 0.5
FORWARD_ROWS = 3  # passes through the whole model per image

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,59}$")]
Count = Annotated[int, Field(ge=1, le=10**9)]


class Inspection(BaseModel):
    """What was seen on the way from the input to the logits.

    operations: how often each of WORDS was applied to something that depends on the input. functions: classes of custom
    autograd Functions. cut: the logits have no gradient at all. dynamic: forward() differentiates something itself.
    crooked: classes of parts whose vector-Jacobian product does not fit finite differences of their outputs. written: how many
    parameters and buffers a pass has changed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    operations: dict[str, Count] = Field(default_factory=dict, max_length=len(WORDS))
    functions: list[Name] = Field(default_factory=list, max_length=20)
    cut: bool = False
    dynamic: bool = False
    crooked: list[Name] = Field(default_factory=list, max_length=20)
    written: Annotated[int, Field(ge=0, le=10**9)] = 0

    @field_validator("operations")
    @classmethod
    def _known(cls, operations: dict[str, int]) -> dict[str, int]:
        if not operations.keys() <= WORDS:
            raise ValueError("an operation that is not on the list")
        return operations

    @property
    def hard(self) -> dict[str, int]:
        """The operations whose gradient is zero or absent."""
        return {word: count for word, count in sorted(self.operations.items()) if word in HARD}


def inspect(model: nn.Module, x: Tensor) -> Inspection:
    """Inspects `model` on a few images x (n, *shape) in [0, 1]; restores the random state it found."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        watch, parts, before = _Watch(), _Parts(model), _tensors(model)
        leaf = x.detach().clone().requires_grad_(True)
        given = leaf.clone()  # forward() may change its input in place
        flow = Flow(given)
        with parts, watch, flow:
            logits = model(given)
        after, graph = _tensors(model), graph_of(logits)
        return Inspection(
            operations=watch.operations | graph.flat | flow.words(logits),
            functions=sorted(map(_plain, graph.functions))[:20],
            cut=not graph.reaches(leaf),
            dynamic=watch.dynamic or _fails_under_inference(model, x),
            crooked=sorted({_plain(type(part).__name__) for part in parts.crooked()})[:20],
            written=sum(name not in before or not torch.equal(bits, before[name]) for name, bits in after.items()),
        )


def _plain(name: str) -> str:
    """A class's name in the letters that `Name` allows: Python allows more."""
    return re.sub(r"^(?=[0-9])|[^A-Za-z0-9_]", "_", name)[:60] or "_"


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """The bits of every parameter and buffer."""
    tensors = (*model.named_parameters(), *model.named_buffers())
    return {name: tensor.detach().flatten().view(torch.uint8).clone() for name, tensor in tensors}


class _Watch(TorchFunctionMode):
    """Counts what is applied to tensors that depend on the input, and calls of autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()
        self.dynamic = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        first = args[0] if args else None
        word = CUTTING.get(func) or BENDING.get(func)
        if word and isinstance(first, Tensor) and first.requires_grad:
            self.operations[word] += 1
        if func in LEAVING:
            self.operations[LEAVING[func]] += 1
        self.dynamic |= func in (torch.autograd.grad, torch.autograd.backward, Tensor.backward)
        return func(*args, **(kwargs or {}))


def _fails_under_inference(model: nn.Module, x: Tensor) -> bool:
    """The pass succeeds without gradients and fails where none can be made."""
    try:
        with torch.inference_mode():
            model(x.clone())
    except RuntimeError:
        with torch.no_grad():
            model(x.clone())  # what fails here too fails for another reason, and the caller hears of it
        return True
    return False


class _Parts:
    """Records the inputs of the model's innermost custom parts while it is entered."""

    def __init__(self, model: nn.Module) -> None:
        self._inputs: dict[nn.Module, Tensor] = {}
        ours = [
            part for part in submodules(model) if not isinstance(part, torch.jit.ScriptModule)
        ]  # TorchScript takes no hooks
        found = custom(ours)
        known = set(map(id, found))
        self._innermost = [part for part in found if not any(id(inner) in known for inner in submodules(part)[1:])]
        self._handles: list[Any] = []

    def __enter__(self) -> None:
        self._handles = [nn.Module.register_forward_hook(part, self._keep) for part in self._innermost]

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _keep(self, part: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        """Forward hook; parts of several inputs are left alone."""
        if len(inputs) == 1 and isinstance(inputs[0], Tensor) and isinstance(output, Tensor) and output.is_floating_point():
            self._inputs.setdefault(part, inputs[0])

    def crooked(self) -> list[nn.Module]:
        """The parts whose gradient does not fit."""
        return [part for part, z in self._inputs.items() if not _fits(part, z.detach())]


def _fits(part: Callable[[Tensor], Tensor], z: Tensor) -> bool:
    """Directional derivatives by autograd agree with differences at z, over examples and random sign directions, at some step.

    The part is asked between the least and the largest value it was given only: a part that takes the image stays in the box.
    """
    leaf = z.clone().requires_grad_(True)
    output = _again(part, leaf.clone())
    cotangent = torch.randn_like(output)
    slope = torch.zeros_like(z)
    if output.requires_grad:
        (given,) = torch.autograd.grad((output * cotangent).sum(), leaf, allow_unused=True)
        slope = slope if given is None else given
    return any(_fits_at(part, z, slope, cotangent, step) for step in STEPS)


def _fits_at(part: Callable[[Tensor], Tensor], z: Tensor, slope: Tensor, cotangent: Tensor, step: float) -> bool:
    h, low, high = step * z.square().mean().sqrt().clamp_min(1e-6), z.amin(), z.amax()
    by_autograd, by_differences = [], []
    for _ in range(DIRECTIONS):
        d = torch.randn_like(z).sign()
        ahead, back = (z + h * d).clamp(low, high), (z - h * d).clamp(low, high)
        rise = _again(part, ahead) - _again(part, back)
        by_differences.append((rise * cotangent).flatten(1).sum(dim=1))
        by_autograd.append((slope * (ahead - back)).flatten(1).sum(dim=1))
    one, other = torch.cat(by_autograd).double().detach(), torch.cat(by_differences).double().detach()
    if float(max(one.norm(), other.norm())) < 1e-9 * step:
        return True
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0)) >= COSINE


def _again(part: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """The part's output with the same randomness at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return part(z)
