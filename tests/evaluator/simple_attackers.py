"""Attackers that anybody writes in ten lines, sharing nothing with ours: what stands under a verdict must stand under them.

Each takes a model, x (n, 1, H, W) and y (n,) of examples that stand, and returns (n,) bool, who fell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

Model = Callable[[Tensor], Tensor]


def lead(logits: Tensor, label: int) -> Tensor:
    """(m,) the best wrong logit minus the right one."""
    wrong = logits.clone()
    wrong[:, label] = -1e9
    return wrong.amax(dim=1) - logits[:, label]


def greedy_pixels(model: Model, x: Tensor, y: Tensor, *, pixels: int) -> Tensor:
    """Sets the one pixel to 0 or 1 that helps most, `pixels` times."""
    fell = []
    for image, label in zip(x, y.tolist(), strict=True):
        now, done = image.flatten().clone(), False
        for _ in range(pixels):
            tries = now.repeat(2 * len(now), 1)
            tries[torch.arange(len(now)), torch.arange(len(now))] = 0.0
            tries[len(now) + torch.arange(len(now)), torch.arange(len(now))] = 1.0
            values = torch.cat([lead(model(part.reshape(-1, *image.shape)), label) for part in tries.split(1024)])
            now, done = tries[values.argmax()], bool(values.max() > 0)
            if done:
                break
        fell.append(done)
    return torch.tensor(fell)


def every_place(model: Model, x: Tensor, y: Tensor, *, side: int, steps: int) -> Tensor:
    """A patch at every place, `steps` sign steps each."""
    height, width = x.shape[2:]
    corners = [(row, column) for row in range(height - side + 1) for column in range(width - side + 1)]
    squares = torch.zeros(len(corners), 1, height, width)
    for number, (row, column) in enumerate(corners):
        squares[number, :, row : row + side, column : column + side] = 1
    fell = []
    for image, label in zip(x, y.tolist(), strict=True):
        z, done = image.expand(len(squares), -1, -1, -1).clone(), False
        for _ in range(steps):
            leaf = z.requires_grad_(True)
            (slope,) = torch.autograd.grad(lead(model(leaf), label).sum(), leaf)
            z = (z.detach() + 0.25 * slope.sign() * squares).clamp(0, 1)
        with torch.no_grad():
            done = bool((lead(model(z), label) > 0).any())
        fell.append(done)
    return torch.tensor(fell)


def rotated(x: Tensor, degrees: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """torch's own affine grid, zeros outside: not the product's renderer."""
    radians, size = torch.deg2rad(degrees), x.shape[-1]
    cosine, sine = radians.cos(), radians.sin()
    shift = torch.stack([-2 * right / size, -2 * down / size])
    turn = torch.stack([torch.stack([cosine, -sine]), torch.stack([sine, cosine])]).permute(2, 0, 1)
    move = (turn @ shift.T[..., None]).squeeze(2)
    grid = functional.affine_grid(torch.cat([turn, move[..., None]], dim=2), list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False)


def full_grid(model: Model, x: Tensor, y: Tensor, *, degrees: float, pixels: float, fine: int) -> Tensor:
    """Every rotation and translation of a fine grid."""

    def cells() -> Iterator[Tensor]:
        shifts = torch.linspace(-pixels, pixels, 9)
        yield from torch.cartesian_prod(torch.linspace(-degrees, degrees, fine), shifts, shifts).split(512)

    fell = []
    for image, label in zip(x, y.tolist(), strict=True):
        hits = (lead(model(rotated(image.expand(len(c), -1, -1, -1), *c.unbind(1))), label) > 0 for c in cells())
        fell.append(any(bool(hit.any()) for hit in hits))
    return torch.tensor(fell)
