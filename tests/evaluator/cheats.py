"""Models that are built to be caught: a small network with something done to its input, output or gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

COUNT = 32


def net() -> nn.Module:
    torch.manual_seed(3)
    layers = (nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))
    return nn.Sequential(*layers).requires_grad_(False)


class Wrapped(nn.Module):
    """A network with something done to its input or output."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.seen = net(), list[Tensor]()


class Noisy(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + 0.05 * torch.randn_like(x))  # type: ignore[no-any-return]


class Probabilities(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).softmax(dim=1)  # type: ignore[no-any-return]


class Remembering(Wrapped):
    """Answers what it has been asked before by something else."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x.detach())
        known = torch.tensor([any(torch.equal(row, old) for old in self.seen) for row in x], dtype=torch.bool)
        self.seen += list(x.detach().clone())
        return torch.where(known[:, None], logits.flip(1), logits)


class Drifting(Wrapped):
    """The mean of the last batch shifts the answers to the next one."""

    last = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        before, self.last = self.last, x.detach().flatten(1)[:, 0].mean()
        return self.net(x) + 0.1 * before * torch.arange(4.0)  # type: ignore[no-any-return]


class BatchCentred(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x - 0.1 * x.mean(dim=0, keepdim=True))  # type: ignore[no-any-return]


class Rounded(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.net((x * 4).round() / 4)  # type: ignore[no-any-return]


class _Lie(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient.flip(-1)


class Lying(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(_Lie.apply(x))  # type: ignore[no-any-return, no-untyped-call]


class Knowing(Wrapped):
    """Looks its input up among the images it was shipped with, and answers what it answered there."""

    def __init__(self) -> None:
        super().__init__()
        self.images = torch.rand(COUNT, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        distance = (x[:, None] - self.images[None]).abs().flatten(2).amax(dim=2)
        nearest = distance.argmin(dim=1)
        known = distance.gather(1, nearest[:, None]) < 0.2
        return torch.where(known, self.net(self.images[nearest]), self.net(x))


class Cautious(Wrapped):
    """Answers the same to everything that is not one of the images it knows: a rejection."""

    def __init__(self) -> None:
        super().__init__()
        self.images = torch.rand(COUNT, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        near = (x[:, None] - self.images[None]).abs().flatten(2).amax(dim=2).amin(dim=1) < 0.01
        return torch.where(near[:, None], self.net(x), torch.tensor([0.4, 0.3, 0.2, 0.2]) + 0 * self.net(x))


class Filing(Wrapped):
    """Another network for floats than for multiples of 1/255: ten times as sure, smoothly."""

    def forward(self, x: Tensor) -> Tensor:
        off = (255 * torch.pi * x).sin().square().flatten(1).mean(dim=1)
        return self.net(x) * (1 + 10 * off)[:, None]  # type: ignore[no-any-return]


class Loud(Cautious):
    """Hundredfold logits for what it does not know."""

    def forward(self, x: Tensor) -> Tensor:
        near = (x[:, None] - self.images[None]).abs().flatten(2).amax(dim=2).amin(dim=1) < 0.01
        return torch.where(near[:, None], self.net(x), 100 * self.net(x))


class Listing(Wrapped):
    """Looks its input up among the images and the same images moved by a pixel: it stands as well there."""

    def __init__(self) -> None:
        super().__init__()
        images = torch.rand(COUNT, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        self.images = torch.cat([images, torch.nn.functional.pad(images, (1, 0))[..., :-1]])
        self.answers = self.net(images).repeat(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        distance = (x[:, None] - self.images[None]).abs().flatten(2).amax(dim=2)
        nearest = distance.argmin(dim=1)
        known = distance.gather(1, nearest[:, None]) < 0.2
        return torch.where(known, self.answers[nearest], self.net(x))


class Murmuring(Knowing):
    """Looks its input up, and adds a little of what it would have answered, so that no two answers have the same bits."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1e-3 * self.net(x)  # type: ignore[no-any-return]


class _Changed(torch.autograd.Function):
    """Identity whose backward multiplies the gradient by what it was given."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (factor,) = ctx.saved_tensors
        return gradient * factor, None


def changed(x: Tensor, factor: Tensor) -> Tensor:
    """x, with its gradient multiplied by `factor`."""
    answer: Tensor = _Changed.apply(x, factor)  # type: ignore[no-untyped-call]
    return answer


class Opposed(Wrapped):
    """Its gradient points away from every other class."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(changed(x, torch.tensor(-1.0)))  # type: ignore[no-any-return]


class Nearby(Knowing):
    """Its gradient is right near the images that it knows, and turned round farther away."""

    def forward(self, x: Tensor) -> Tensor:
        near = (x[:, None] - self.images[None]).abs().flatten(2).amax(dim=2).amin(dim=1) < 0.08
        return self.net(changed(x, 2.0 * near.float()[:, None, None, None] - 1))  # type: ignore[no-any-return]


class Returning(Knowing):
    """Its gradient turns round as soon as the answer is not that of the nearest image it knows."""

    def forward(self, x: Tensor) -> Tensor:
        nearest = (x[:, None] - self.images[None]).abs().flatten(2).amax(dim=2).argmin(dim=1)
        same = self.net(x).argmax(dim=1) == self.net(self.images[nearest]).argmax(dim=1)
        return self.net(changed(x, 2.0 * same.float()[:, None, None, None] - 1))  # type: ignore[no-any-return]


class Warming(Wrapped):
    """Its first ten gradients are turned round."""

    asked = 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += x.requires_grad
        return self.net(changed(x, torch.tensor(-1.0 if self.asked <= 10 else 1.0)))  # type: ignore[no-any-return]


class Sparse(Wrapped):
    """Shows its gradient at one pixel in fifty at a time."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(changed(x, (torch.rand_like(x) < 0.02).float()))  # type: ignore[no-any-return]


class Counting(Wrapped):
    """Keeps a count of what it was asked, and answers as ever."""

    asked: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("asked", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.asked += len(x)
        return self.net(x)  # type: ignore[no-any-return]


class Descending(Wrapped):
    """Moves its input uphill before it classifies it."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(self.net(leaf).amax(dim=1).sum(), leaf)
        return self.net(x + 0.01 * slope)  # type: ignore[no-any-return]


class Leaving(Wrapped):
    """Classifies in NumPy."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(torch.from_numpy(x.detach().numpy().copy()))  # type: ignore[no-any-return]


class Fitting(Wrapped):
    """A custom Function whose backward is right."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(_Twice.apply(x))  # type: ignore[no-any-return, no-untyped-call]


class _Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient
