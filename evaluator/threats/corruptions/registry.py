"""The one list of corruptions, and the one way to apply one."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from torch import Tensor

from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.threats.corruptions import blur, digital, noise, weather

Corruption = Callable[[Tensor, int, Draws], Tensor]

KINDS: dict[str, Corruption] = {
    "gaussian-noise": noise.gaussian,
    "shot-noise": noise.shot,
    "impulse-noise": noise.impulse,
    "defocus-blur": blur.defocus,
    "glass-blur": blur.glass,
    "motion-blur": blur.motion,
    "zoom-blur": blur.zoom,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    "elastic": digital.elastic,
    "pixelate": digital.pixelate,
    "jpeg": digital.jpeg,
}


def corrupt(x: Tensor, kind: str, severity: int, draws: Draws) -> Tensor:
    """Corrupts images (n, C, H, W) in [0, 1], C = 1 or 3, of CIFAR-10's or MNIST's size; returns the same shape in [0, 1].

    severity: 1 (mild) to 5. draws: one stream per image; the same stream gives the same corruption, in any batch.
    Raises InputError for an unknown kind (naming the nearest), another severity or other images.
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.4)
        raise InputError(f'there is no corruption "{kind}".', help=f'Did you mean "{near[0]}"?' if near else ", ".join(KINDS))
    if severity not in range(1, 6):
        raise InputError(f"severity must be 1, 2, 3, 4 or 5, got {severity}.", where=kind)
    if x.dim() != 4 or x.shape[1] not in (1, 3) or min(x.shape[2:]) < 8:
        raise InputError(f"images must be (n, 1 or 3, 8 or more, 8 or more), got {tuple(x.shape)}.", where=kind)
    return KINDS[kind](x, severity, draws).to(x.dtype).clamp(0, 1)
