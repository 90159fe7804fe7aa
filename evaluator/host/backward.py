"""Backward passes that the host serves beside the model's own: what an adaptive attack differentiates instead.

"own": autograd of what forward() computes. "declared": the stand-ins of the submission's `bpda` file. "straight-through":
every shape-preserving part that is no plain torch layer, and every rounding or detach, passes its gradient on as if it were
the identity. "learned": as that, but every such part that keeps its pixels, whatever its channels, gets the slope of a small
network fitted to it. "float64": autograd of the model in double precision, where products that float32 rounds to zero still
are something. In each of these the forward pass gives the model's own bits. "removed": the network without those parts,
in both passes. What falls is scored on the model alone.

All this runs in the submission's process, which may sabotage it: it can only ever be evidence against an entry.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from evaluator.adaptive.bpda import Layer, identity, passed_through, with_backward
from evaluator.adaptive.learned import learn_substitute, noise_images
from evaluator.errors import InputError, SubmissionError
from evaluator.host.failure_text import failure_text
from evaluator.host.load import MANIFEST, load_function
from evaluator.manifests.spec import DefenseManifest
from evaluator.records.report import SubmissionReason
from evaluator.torch_layers import custom, submodules

Backward = Literal["own", "declared", "straight-through", "learned", "float64", "removed"]
_MOST_LEARNED = 4  # parts, from the input on: each fit takes a second
_ABOVE = {torch.gt, torch.ge, Tensor.gt, Tensor.ge, Tensor.__gt__, Tensor.__ge__}
_SOFTMAX = {torch.softmax, Tensor.softmax, functional.softmax}
_CAST = {Tensor.float, Tensor.double, Tensor.to, Tensor.type_as}
_CUT = {
    torch.round, torch.floor, torch.ceil, torch.trunc, torch.sign, torch.heaviside, torch.detach,
    Tensor.round, Tensor.floor, Tensor.ceil, Tensor.trunc, Tensor.sign, Tensor.heaviside, Tensor.detach,
    Tensor.data.__get__,  # type: ignore[attr-defined]
}  # fmt: skip


class Backwards:
    """The backward passes of one loaded submission. substitutes: dotted submodule name -> stand-in, {} where none."""

    def __init__(self, model: nn.Module, substitutes: Mapping[str, Layer]) -> None:
        self._model, self._substitutes = model, substitutes
        self._learned: dict[nn.Module, Layer] | None = None
        self._double: nn.Module | None = None

    @contextmanager
    def use(self, name: str) -> Iterator[None]:
        """Graphs built inside have the named backward pass. Raises InputError for an unknown or undeclared one."""
        match name:
            case "own":
                yield
            case "declared" if self._substitutes:
                with with_backward(self._model, self._substitutes):
                    yield
            case "declared":
                raise InputError("the submission declares no stand-ins.", where=MANIFEST, help="Name a file in `bpda`.")
            case "straight-through":
                with _straight_through(self._model):
                    yield
            case "learned":
                first = self._model.register_forward_pre_hook(self._learn)
                try:
                    with _straight_through(self._model, self._stand_in):
                        yield
                finally:
                    first.remove()
            case "float64":
                self._double = self._double or copy.deepcopy(self._model).double()
                last = self._model.register_forward_hook(self._in_double)
                try:
                    yield
                finally:
                    last.remove()
            case "removed":
                with _hooked(self._model, _hand_on):
                    yield
            case other:
                known = ", ".join(get_args(Backward))
                raise InputError(f'there is no backward pass "{other}".', help=f"It can be {known}.")

    def _learn(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Before the first answer: what every custom part makes of noise, and a substitute for each."""
        if self._learned is not None:
            return
        self._learned = {}
        seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

        def note(part: nn.Module, given: tuple[object, ...], output: object) -> None:
            if given and isinstance(given[0], Tensor) and isinstance(output, Tensor):
                seen[part] = given[0].detach(), output.detach()

        parts = [part for part in _custom(model) if part is not model][:_MOST_LEARNED]
        handles = [part.register_forward_hook(note) for part in parts]
        try:
            with torch.no_grad():
                model(noise_images(inputs[0].shape[1:], inputs[0].device))
        finally:
            for handle in handles:
                handle.remove()
        learned = {part: learn_substitute(*pair) for part, pair in seen.items()}
        self._learned = {part: layer for part, layer in learned.items() if layer is not None}

    def _in_double(self, model: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        """Forward hook: the answer with the gradient of the same pass in float64."""
        x = inputs[0]
        if self._double is None or not (torch.is_grad_enabled() and x.requires_grad):
            return None
        try:
            approximation = self._double(x.double()).to(output.dtype)
        except RuntimeError:
            return None  # code that insists on float32 has its own gradient only
        return passed_through(output, approximation) if approximation.requires_grad else None

    def _stand_in(self, part: nn.Module) -> Layer | None:
        return (self._learned or {}).get(part)


def declared_substitutes(folder: Path, manifest: DefenseManifest, model: nn.Module) -> dict[str, Layer]:
    """What the submission's `bpda` file declares: its `substitutes(model)`, {} where there is no such file.

    Raises SubmissionError(load) for a file that fails, and for anything but callables for submodules of the model.
    """
    if manifest.bpda is None:
        return {}
    function: Callable[[nn.Module], Any] = load_function(folder, manifest.bpda, "substitutes(model)", where=MANIFEST)
    try:
        declared = dict(function(model))
    except Exception as error:
        raise SubmissionError(
            SubmissionReason.LOAD, f"substitutes failed: {failure_text(error, folder)}", where=manifest.bpda
        ) from error
    known = dict(model.named_modules())
    for name, layer in declared.items():
        if name not in known or name == "" or not callable(layer):
            what = f'substitutes(model) names "{name}", which must be a submodule of the model with a callable for it.'
            raise SubmissionError(SubmissionReason.LOAD, what, where=manifest.bpda, help="See model.named_modules().")
    return declared


@contextmanager
def _straight_through(model: nn.Module, stand_in: Callable[[nn.Module], Layer | None] = lambda _: None) -> Iterator[None]:
    def pass_on(part: nn.Module, inputs: tuple[object, ...], output: object) -> object:
        return _pass_on(stand_in(part) or identity, inputs, output)

    with _hooked(model, pass_on), _NothingCuts():
        yield


@contextmanager
def _hooked(model: nn.Module, hook: Callable[[nn.Module, tuple[object, ...], object], object]) -> Iterator[None]:
    """Every custom part with a forward hook."""
    handles = [nn.Module.register_forward_hook(part, hook) for part in _custom(model)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hand_on(part: nn.Module, inputs: tuple[object, ...], output: object) -> Tensor | None:
    """Forward hook: the input instead of the output, where they have the same shape."""
    first = inputs[0] if inputs else None
    if isinstance(first, Tensor) and isinstance(output, Tensor) and first.shape == output.shape:
        return first
    return None


def _custom(model: nn.Module) -> list[nn.Module]:
    """The parts that are none of torch's own layers, whose gradients can be believed, nor TorchScript, which takes no hooks."""
    return custom(part for part in submodules(model) if not isinstance(part, torch.jit.ScriptModule))


def _pass_on(g: Layer, inputs: tuple[object, ...], output: object) -> object:
    """In a forward hook: the gradient of the output becomes that of g of the first input, where the shapes are the same."""
    first = inputs[0] if inputs else None
    if not (isinstance(first, Tensor) and isinstance(output, Tensor)):
        return None
    if not (torch.is_grad_enabled() and first.requires_grad):
        return None
    approximation = g(first)
    return passed_through(output, approximation) if approximation.shape == output.shape else None


class _NothingCuts(TorchFunctionMode):
    """Rounding, signs, detach and thresholds (x > t cast to a float) keep their values and let gradients pass.

    A softmax over classes passes the gradient of its logarithm, which does not vanish where its own has saturated.
    A gate between two answers (`torch.where`) passes its gradient to both. A detector's network and its squeezed view are
    then attacked together (the joint loss of Carlini and Wagner 2017, "Adversarial Examples Are Not Easily Detected").
    """

    def __init__(self) -> None:
        super().__init__()
        self._thresholded: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        first = args[0] if args else None
        if func is Tensor.numpy and isinstance(first, Tensor):
            return torch.Tensor.numpy(Tensor.detach(first), *args[1:], **(kwargs or {}))
        value = func(*args, **(kwargs or {}))
        if func in _ABOVE and isinstance(first, Tensor):
            self._thresholded[id(value)] = (value, first)  # held, so that no other tensor gets its id
        if func in _CAST and id(first) in self._thresholded and value.is_floating_point():
            compared = self._thresholded[id(first)][1]
            if torch.is_grad_enabled() and compared.requires_grad and compared.shape == value.shape:
                return passed_through(value, compared)
        if func in _SOFTMAX and isinstance(first, Tensor) and first.dim() == 2 and first.requires_grad:
            return passed_through(value, torch.log_softmax(first, dim=1).to(value.dtype))
        if func is torch.where and len(args) == 3 and _gates(value, *args[1:]):
            return passed_through(value, args[1] + args[2])
        if func not in _CUT or not isinstance(first, Tensor) or not isinstance(value, Tensor):
            return value
        if not (torch.is_grad_enabled() and first.requires_grad):
            return value
        return passed_through(value, first)


def _gates(value: Tensor, one: object, other: object) -> bool:
    """Two answers of one shape that depend on the input both."""
    if not (torch.is_grad_enabled() and isinstance(one, Tensor) and isinstance(other, Tensor)):
        return False
    return one.requires_grad and other.requires_grad and one.shape == other.shape == value.shape
