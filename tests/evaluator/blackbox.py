"""Small models with known answers and an independent row counter, for the tests of black-box and adaptive attacks.

Their rows are computed without matrix products, so that an input's logits are the same bits in every batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from evaluator.models.access import scores


class Linear:
    """logits = x . W^T + b, row by row in float64."""

    def __init__(self, weights: Tensor, bias: Tensor | None = None) -> None:
        self.weights = weights.double()
        self.bias = torch.zeros(len(weights)).double() if bias is None else bias.double()

    def __call__(self, x: Tensor) -> Tensor:
        products = x.flatten(1).double()[:, None, :] * self.weights
        return (products.sum(dim=2) + self.bias).float()

    def boundary_l2(self, x: Tensor, y: Tensor) -> Tensor:
        """(n,) exact L2 distance to the nearest decision boundary, the box aside."""
        return self._margins(x, y, lambda difference: difference.norm(dim=1))

    def boundary_linf(self, x: Tensor, y: Tensor) -> Tensor:
        """(n,) exact Linf distance to the nearest decision boundary, the box aside."""
        return self._margins(x, y, lambda difference: difference.abs().sum(dim=1))

    def _margins(self, x: Tensor, y: Tensor, dual: Callable[[Tensor], Tensor]) -> Tensor:
        logits = x.flatten(1).double() @ self.weights.T + self.bias
        answers = []
        for row, label in zip(logits, y.tolist(), strict=True):
            others = [k for k in range(len(self.weights)) if k != label]
            norms = dual(self.weights[label] - self.weights[others])
            answers.append(((row[label] - row[others]) / norms).min())
        return torch.stack(answers)


class Curved:
    """A smooth net on flat inputs: logits = tanh(x . A^T + a) . B^T, row by row in float64."""

    def __init__(self, features: int, *, hidden: int = 12, classes: int = 3, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.first = torch.randn(hidden, features, generator=generator).double() * 3 / features**0.5
        self.bias = torch.randn(hidden, generator=generator).double()
        self.second = torch.randn(classes, hidden, generator=generator).double()

    def __call__(self, x: Tensor) -> Tensor:
        hidden = ((x.flatten(1).double()[:, None, :] * self.first).sum(dim=2) + self.bias).tanh()
        logits: Tensor = (hidden[:, None, :] * self.second).sum(dim=2)
        return logits.float()


class Constant:
    """The same logits for every input; class 0 wins."""

    def __init__(self, classes: int = 4) -> None:
        self.classes = classes

    def __call__(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), self.classes)


class Counted:
    """Counts the rows that `model` is asked about, and remembers whether all of them lay in [0, 1]."""

    def __init__(self, model: Callable[[Tensor], Tensor]) -> None:
        self.model, self.rows, self.inside = model, 0, True

    def __call__(self, x: Tensor) -> Tensor:
        assert len(x) > 0, "asked about no rows"
        self.rows += len(x)
        self.inside &= bool(((x >= 0) & (x <= 1)).all())
        return self.model(x)


def images(count: int, *shape: int, seed: int = 0) -> Tensor:
    """(count, *shape) float32 uniform in [0.2, 0.8]."""
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed)) * 0.6 + 0.2


class ScoresOnly:
    """`model` for score-based attackers: the same logits, no gradient."""

    def __init__(self, model: Callable[[Tensor], Tensor]) -> None:
        self.model = model

    def __call__(self, x: Tensor) -> Tensor:
        return scores(self.model, x)
