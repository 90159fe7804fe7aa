"""Attacks of ours and of other libraries behind one call: (model, x, y) -> points."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable

import torch
from torch import Tensor, nn

from evaluator.attacks.registry import create
from evaluator.threats import Threat
from evaluator.torchvision_compat import let_torchvision_be_imported

EPSILON = 2 / 255
Run = Callable[[nn.Module, Tensor, Tensor], Tensor]


def ours(name: str, threat: Threat, **options: object) -> Run:
    attack = create(name, **options)
    return lambda model, x, y: attack(model, x, y, threat)


def torchattack(name: str, **options: object) -> Run:
    import torchattacks

    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        torch.manual_seed(0)
        points: Tensor = getattr(torchattacks, name)(model, **options)(x, y)
        return points

    return run


def of_foolbox(name: str, **options: object) -> Run:
    import foolbox

    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        points: Tensor = getattr(foolbox.attacks, name)(**options)(wrapped, x, y, epsilons=None)[1]
        return points

    return run


def of_art(name: str, **options: object) -> Run:
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier

    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        loss = nn.CrossEntropyLoss()
        wrapped = PyTorchClassifier(model, loss, tuple(x.shape[1:]), 10, clip_values=(0.0, 1.0), device_type="cpu")
        attack = getattr(evasion, name)(wrapped, verbose=False, **options)
        return torch.from_numpy(attack.generate(x.numpy(), y.numpy()))

    return run


def of_adv_lib(name: str, **options: object) -> Run:
    """adv-lib draws with visdom, which only its plots ask for."""
    let_torchvision_be_imported()
    sys.modules.setdefault("visdom", types.ModuleType("visdom"))
    import adv_lib.attacks

    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        torch.manual_seed(0)
        points: Tensor = getattr(adv_lib.attacks, name)(model, x, y, **options)
        return points.detach()

    return run


def of_autoattack(kind: str, norm: str, epsilon: float, **options: object) -> Run:
    from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
    from pyautoattack.fab_pt import FABAttack_PT
    from pyautoattack.square import SquareAttack

    classes = {"apgd": APGDAttack, "apgd_t": APGDAttack_targeted, "fab": FABAttack_PT, "square": SquareAttack}

    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        attack = classes[kind](model, norm=norm, eps=epsilon, device="cpu", verbose=False, **options)
        attack.seed = 0
        points: Tensor = attack.perturb(x, y)
        return points

    return run
