"""Patches by place and content, for attacks that choose both; a place is the (row, column) of the square's first pixel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from evaluator.errors import InputError
from evaluator.threats.base import Threat
from evaluator.threats.patch import Patch
from evaluator.threats.physical import Physical


def patch_of(threat: Threat) -> Patch:
    """The patch that the threat allows, its own or its base's. Raises InputError where there is none."""
    patch = threat.base if isinstance(threat, Physical) else threat
    if not isinstance(patch, Patch):
        raise InputError(f"this attack needs a patch; the {threat.kind} threat allows none.", help="Use another attack.")
    return patch


def places_in(patch: Patch, x: Tensor) -> tuple[int, int]:
    """How many places there are down and across; one each where the location is fixed."""
    if patch.location is not None:
        return 1, 1
    return x.shape[2] - patch.side + 1, x.shape[3] - patch.side + 1


def pasted(patch: Patch, x: Tensor, place: Tensor, content: Tensor) -> Tensor:
    """Points (n, C, H, W): x with `content` (n, C, side, side) at `place` (n, 2), cut to the patch's epsilon."""
    height, width = x.shape[2:]
    start = place if patch.location is None else torch.tensor(patch.location, device=x.device).expand_as(place)
    canvas = functional.pad(content, (0, width - patch.side, 0, height - patch.side))
    row = (torch.arange(height, device=x.device) - start[:, :1]) % height
    column = (torch.arange(width, device=x.device) - start[:, 1:]) % width
    index = (row[:, :, None] * width + column[:, None, :]).reshape(len(x), 1, -1).expand(-1, x.shape[1], -1)
    moved = canvas.flatten(2).gather(2, index).reshape(x.shape)
    return patch.project(x, torch.where(inside(patch, x, place), moved, x))


def inside(patch: Patch, x: Tensor, place: Tensor) -> Tensor:
    """(n, 1, H, W) bool: the pixels of the square at `place` (n, 2)."""
    start = place if patch.location is None else torch.tensor(patch.location, device=x.device).expand_as(place)
    row = torch.arange(x.shape[2], device=x.device) - start[:, :1]
    column = torch.arange(x.shape[3], device=x.device) - start[:, 1:]
    tall, wide = (row >= 0) & (row < patch.side), (column >= 0) & (column < patch.side)
    return (tall[:, :, None] & wide[:, None, :])[:, None]
