"""Fixed-seed EOT: a random model under a few seeds is a deterministic one, whose mean can be climbed without noise.

Sample average approximation by common random numbers, the counterpart of `EOT` on fresh draws. What it finds may fit its seeds
only, so success is scored on fresh randomness all the same (`evaluator.models.reading.Votes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from evaluator.attacks.base import Model
from evaluator.models.meter import MeteredModel


@runtime_checkable
class Seedable(Protocol):
    """A model whose randomness can be fixed; see `evaluator.host.seeding`."""

    def with_seed(self, seed: int) -> Model:
        """The same model, every pass with the randomness of `seed`."""


class MeanOf:
    """x -> the mean logits of several models, differentiable wherever they are."""

    def __init__(self, models: Sequence[Model]) -> None:
        self._models = models

    def __call__(self, x: Tensor) -> Tensor:
        """x (n, *shape) in [0, 1] -> (n, classes)."""
        return torch.stack([model(x) for model in self._models]).mean(dim=0)


def fixed_seeds(model: MeteredModel, samples: int) -> MeanOf | None:
    """The mean of `model` under `samples` seeds, every pass charged; None where its randomness cannot be fixed."""
    able: list[bool] = []

    def with_seed(inner: Model, seed: int) -> Model:
        able.append(isinstance(inner, Seedable))
        return inner.with_seed(seed) if isinstance(inner, Seedable) else inner

    def under(seed: int) -> MeteredModel:
        return model.through(lambda inner: with_seed(inner, seed), repeatable=False)

    models = [under(seed) for seed in range(samples)]
    return MeanOf(models) if all(able) else None
