"""Cases for the threats' tests: small images with pixels on the walls, points near and far, and one instance of each kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from evaluator.draws import Draws
from evaluator.threats import (
    L0,
    L1,
    L2,
    Color,
    Linf,
    Patch,
    Physical,
    RotationTranslation,
    Spatial,
    Sum,
    Threat,
    Union,
)

BALLS: dict[str, Threat] = {
    "linf": Linf(8 / 255),
    "linf-wide": Linf(0.3),
    "l2": L2(0.5),
    "l2-tiny": L2(1e-5),
    "l2-wide": L2(3.0),
    "l1": L1(1.7),
    "l1-tiny": L1(3e-5),
    "l1-spread": L1(4.0, share=0.3),
    "l0": L0(2),
    "union": Union((Linf(0.1), L2(0.5), L1(1.5), L0(1))),
}

SHAPES = ((1, 2, 2), (3, 4, 5), (7,))


@dataclass(frozen=True)
class Case:
    """Inputs x in the box and arbitrary points z of the same shape."""

    x: Tensor
    z: Tensor


def images(generator: torch.Generator, n: int, shape: tuple[int, ...]) -> Tensor:
    """(n, *shape) float32 in [0, 1]: a third on a wall, a third 8-bit levels, the rest anything."""
    anything = torch.rand(n, *shape, generator=generator)
    levels = torch.randint(0, 256, (n, *shape), generator=generator) / 255
    walls = torch.randint(0, 2, (n, *shape), generator=generator).float()
    which = torch.randint(0, 3, (n, *shape), generator=generator)
    return torch.where(which == 0, walls, torch.where(which == 1, levels, anything))


@st.composite
def cases(draw: st.DrawFn, shapes: tuple[tuple[int, ...], ...] = SHAPES) -> Case:
    """Batches of 1 to 4 images, points from 1e-7 to 1e6 away, some coordinates unmoved, some rows wholly unmoved."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    n, shape = draw(st.integers(1, 4)), draw(st.sampled_from(shapes))
    x = images(generator, n, shape)
    scale = 10.0 ** draw(st.floats(-7, 6))
    move = torch.randn(n, *shape, generator=generator) * scale
    if draw(st.booleans()):
        move *= torch.rand(n, *shape, generator=generator) < 0.5
    if draw(st.booleans()):
        move[0] = 0
    return Case(x, x + move)


def draws(n: int, *, seed: int = 0, first: int = 0) -> Draws:
    """Streams of examples first .. first + n - 1."""
    return Draws(seed, torch.arange(first, first + n))


def norm(kind: str, move: np.ndarray) -> float:
    """The norm of one perturbation in float64, by numpy: "linf", "l2", "l1", "l0" (C, H, W or flat)."""
    wide = move.astype(np.float64)
    match kind:
        case "linf":
            return float(np.abs(wide).max())
        case "l2":
            return float(np.sqrt(np.sum(wide**2)))
        case "l1":
            return float(np.abs(wide).sum())
        case "l0":
            changed = wide != 0
            return float(changed.any(axis=0).sum() if changed.ndim == 3 else changed.sum())
    raise ValueError(kind)


PARAMETRISED: dict[str, Threat] = {
    "spatial": Spatial(0.7),
    "spatial-zeros": Spatial(1.5, border="zeros"),
    "rotation-translation": RotationTranslation(15, 1.5),
    "rotation-edge": RotationTranslation(0.3, 0, border="edge"),
    "color": Color(0.1, 0.04, nodes=3),
    "color-free": Color(0.06, 0.2, nodes=3),
    "sum": Sum((Color(0.06, 0.03, nodes=3), Spatial(0.3), Linf(4 / 255))),
    "sum-l2": Sum((RotationTranslation(5, 1), L2(0.3))),
    "patch": Patch(2),
    "patch-fixed": Patch(2, epsilon=0.4, location=(1, 2)),
    "physical": Physical(Linf(0.1)),
}


def parameters(generator: torch.Generator, threat: Threat, x: Tensor, scale: float) -> Tensor:
    """Arbitrary points of a threat's own shape, `scale` budgets away from no perturbation."""
    start = threat.start(x)
    if isinstance(threat, Sum):
        parts = [parameters(generator, part, x, scale) for part in threat.parts]
        shifted = [
            part - x if isinstance(member, Linf | L2 | L1) else part for member, part in zip(threat.parts, parts, strict=True)
        ]
        return threat.join(shifted, x)
    return start + torch.randn(start.shape, generator=generator) * scale * threat.epsilon
