"""Random crops and mirror images of small pictures, as training on CIFAR-10 uses them (He et al. 2016, sec. 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_PAD = 4


def crop_and_mirror(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image is padded with 4 zeros on every side, cropped to its size at random, and mirrored with probability 1/2.

    images: (n, C, H, W) of any dtype. generator: a CPU generator; nothing else is random.
    """
    count, _, height, width = images.shape
    padded = functional.pad(images, (_PAD, _PAD, _PAD, _PAD))
    top, left = torch.randint(2 * _PAD + 1, (2, count, 1), generator=generator)
    mirrored = torch.randint(2, (count, 1), generator=generator).bool()
    rows, columns = top + torch.arange(height), torch.arange(width).expand(count, width)
    columns = left + torch.where(mirrored, columns.flip(1), columns)
    example = torch.arange(count)[:, None, None]
    return padded[example, :, rows[:, :, None], columns[:, None, :]].movedim(3, 1).contiguous()
