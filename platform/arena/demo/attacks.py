"""The season's attacks: six short pieces of code and six arrays, each prepared on one defense of the season."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from arena.demo.defenses import EPSILON
from evaluator.attacks import create
from evaluator.data import Examples
from evaluator.threats import Linf

_CODE = """import torch
from torch.nn.functional import cross_entropy


def loss(logits, y):
    {loss}


def attack(model, x, y, threat, budget):
    torch.manual_seed(0)
    best, standing = x.clone(), torch.ones(len(x), dtype=torch.bool)
    for restart in range({restarts}):
        start = torch.rand_like(x) * 2 - 1 if {random} else torch.zeros_like(x)
        point, mean = threat.project(x, x + threat.epsilon * start), torch.zeros_like(x)
        for step in range({steps} + 1):
            point = point.detach().requires_grad_(True)
            logits = model(point)
            fell = (logits.argmax(1) != y) & standing
            best[fell] = point.detach()[fell]
            standing &= ~fell
            if step == {steps} or not standing.any():
                break
            (gradient,) = torch.autograd.grad(loss(logits, y), point)
            mean = {momentum} * mean + gradient / gradient.abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-12)
            point = threat.project(x, point.detach() + {size} * threat.epsilon * mean.sign())
    return best
"""
_CROSS_ENTROPY = 'return cross_entropy(logits, y, reduction="sum")'
_MARGIN = (
    'true = logits.gather(1, y[:, None])[:, 0]\n    return (logits.scatter(1, y[:, None], float("-inf")).amax(1) - true).sum()'
)


@dataclass(frozen=True)
class DemoAttack:
    """name, team: as shown. target: the defense that an array is made for, None for code, whose source is `code`."""

    name: str
    team: str
    code: str = ""
    target: str | None = None
    make: Callable[[nn.Module, Examples], Tensor] | None = None

    def archive(self, target_id: str, network: nn.Module | None, examples: Examples) -> bytes:
        """The packed folder. network: of the target, for an array."""
        if self.make is None or network is None:
            manifest = f'name = "{self.name}"\nformat = "python"\nentry = "attack.py"\n'
            return _zipped({"attack.toml": manifest.encode(), "attack.py": self.code.encode()})
        torch.manual_seed(0)
        buffer = io.BytesIO()
        np.save(buffer, self.make(network, examples).detach().numpy())
        manifest = f'name = "{self.name}"\nformat = "array"\ntarget = "{target_id}"\narray = "adversarial.npy"\n'
        return _zipped({"attack.toml": manifest.encode(), "adversarial.npy": buffer.getvalue()})


def _zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _code(steps: int, size: float, *, loss: str = _CROSS_ENTROPY, restarts: int = 1, momentum: float = 0.0) -> str:
    """Steps of `size` budgets along the gradient's sign, from a random start where there are several."""
    return _CODE.format(loss=loss, restarts=restarts, random=restarts > 1, steps=steps, momentum=momentum, size=size)


def _made_by(name: str, **settings: float) -> Callable[[nn.Module, Examples], Tensor]:
    """The points of one of the evaluator's own attacks."""
    return lambda network, part: create(name, **settings)(network, part.x, part.y, Linf(EPSILON))


def _noise(network: nn.Module, part: Examples) -> Tensor:
    """A random corner of every ball: no attack at all, and a yardstick."""
    return (part.x + EPSILON * torch.randn_like(part.x).sign()).clamp(0, 1)


SECOND, LIMIT, DUSK, MOSS = "Second Order", "The Limit Cycle", "Dusk Lab", "Moss and Stone"
ATTACKS = (
    DemoAttack("A corner at random", MOSS, target="Standard CNN", make=_noise),
    DemoAttack("One step", LIMIT, _code(1, 1.0)),
    DemoAttack("FGSM, saved", DUSK, target="FGSM-trained", make=_made_by("fgsm")),
    DemoAttack("PGD, 10 steps", LIMIT, _code(10, 0.25)),
    DemoAttack("PGD-40 by hand", DUSK, target="PGD-trained, L∞ 0.3", make=_made_by("pgd", steps=40)),
    DemoAttack("Momentum, 20 steps", SECOND, _code(20, 0.12, momentum=0.9)),
    DemoAttack("Square, 300 queries", MOSS, target="Noise 0.5", make=_made_by("square", queries=300)),
    DemoAttack("Margin, 40 steps", SECOND, _code(40, 0.08, loss=_MARGIN)),
    DemoAttack("APGD-T, saved", DUSK, target="PGD-5 0.2, 3k images", make=_made_by("apgd_t")),
    DemoAttack("PGD, 5 restarts", LIMIT, _code(20, 0.15, restarts=5)),
    DemoAttack("FAB, saved", MOSS, target="PGD, then forgetting", make=_made_by("fab")),
    DemoAttack("Margin, momentum, 4 restarts", SECOND, _code(60, 0.05, loss=_MARGIN, restarts=4, momentum=0.75)),
)
