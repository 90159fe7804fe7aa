"""Which modules are what their type says: only those may be read instead of run.

A bound is computed from a layer's type and weights, while the network that is deployed runs its code. The two are the same
for an exact type of torch's or of ours, without hooks, with nothing put in the place of its methods. Everything else is either
followed through its own forward, step by step, or refused.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules
from torch.nn.utils import parametrize

from evaluator.certify.orthogonal import AOLConv2d, AOLLinear, PairSort
from evaluator.errors import InputError

READABLE: tuple[type[nn.Module], ...] = (
    nn.Linear, nn.Conv2d, nn.ReLU, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.MaxPool2d, nn.BatchNorm1d, nn.BatchNorm2d,
    nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout2d, AOLConv2d, AOLLinear, PairSort,
)  # fmt: skip
_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
)  # fmt: skip
_GLOBAL_HOOKS = tuple(f"_global{name}" for name in _HOOKS)
_CALLING = ("__call__", "_wrapped_call_impl", "_call_impl", "_compiled_call_impl")
_HELP = "Certify the plain network: a forward of known layers, without hooks or replaced methods."


def readable(layer: nn.Module) -> bool:
    """Whether the layer's type alone says what it computes: exactly one of READABLE, no subclass."""
    return type(layer) in READABLE


def check_layers(model: nn.Module) -> None:
    """Raises InputError, naming the module, where calling one is not running the forward of its class on plain tensors."""
    for name in _GLOBAL_HOOKS:
        if getattr(torch_modules, name, None):
            raise InputError("a hook is registered for all modules.", where="certificate", help=_HELP)
    for path, part in model.named_modules():
        where = f'"{path or "the network"}" ({type(part).__name__})'
        if any(getattr(part, name, None) for name in _HOOKS):
            raise _refused(f"{where} has hooks, which bounds cannot follow.")
        if parametrize.is_parametrized(part):
            raise _refused(f"{where} computes its weights from others, which bounds cannot follow.")
        changed = [name for name in _CALLING if getattr(type(part), name, None) is not getattr(nn.Module, name, None)]
        own = {name: value for name, value in vars(part).items() if value is not None}
        changed += [name for name in own if name in _CALLING or callable(getattr(type(part), name, None))]
        if changed:
            raise _refused(f"{where} has another {changed[0]} than its class, which bounds cannot follow.")
        for name, value in (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)):
            if type(value) not in (Tensor, nn.Parameter):
                raise _refused(f"{where} holds {name} as a {type(value).__name__}, not as a plain tensor.")
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise _refused(f"{where} holds NaN or infinity in {name}.")


def _refused(what: str) -> InputError:
    return InputError(what, where="certificate", help=_HELP)
