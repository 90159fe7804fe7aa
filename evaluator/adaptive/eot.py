"""Expectation over transformation (Athalye et al. 2018, "Synthesizing Robust Adversarial Examples", sec. 2; "Obfuscated
Gradients Give a False Sense of Security", sec. 4.2): attack the mean answer of a random model, or of a model behind random
transformations, instead of a single draw."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from evaluator.attacks.base import Model
from evaluator.attacks.validation import at_least, one_of
from evaluator.draws import Draws

Transformation = Callable[[Tensor, Draws], Tensor]


class EOT:
    """x -> the mean over `samples` passes of model(transformation(x)), differentiable wherever they are.

    samples: k, passes per call; every call costs k forward rows per input, and its gradient k backward rows.
    transformation: t(x (n, *shape), draws) -> inputs of the model. One transformation is drawn per pass and shared by all
        rows (`draws` holds that one stream, and broadcasts). So an input's answer does not depend on its neighbours.
        None: only the model's own randomness.
    fresh: True draws new transformations in every call; False repeats the same k, which makes a deterministic objective
        of a deterministic model (common random numbers).
    average: "logits" is the mean of the logits; any loss linear in them (the margin) then has E[grad loss] as its gradient.
        "probabilities" is the log of the mean softmax, so that cross-entropy attacks a soft vote.
    """

    def __init__(
        self,
        model: Model,
        samples: int,
        *,
        transformation: Transformation | None = None,
        seed: int = 0,
        fresh: bool = True,
        average: Literal["logits", "probabilities"] = "logits",
    ) -> None:
        at_least(1, samples=samples)
        one_of(("logits", "probabilities"), average=average)
        self.samples, self.average = samples, average
        self._model, self._transformation, self._seed, self._fresh = model, transformation, seed, fresh
        self._calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        """x (n, *shape) in [0, 1] -> (n, classes): mean logits, or log of mean probabilities."""
        draws = Draws(self._seed, torch.arange(self.samples, device=x.device)).fork(self._calls if self._fresh else 0)
        self._calls += 1
        answers = torch.stack([self._pass(x, draws[sample : sample + 1]) for sample in range(self.samples)])
        if self.average == "logits":
            return answers.mean(dim=0)
        return answers.log_softmax(dim=2).logsumexp(dim=0) - math.log(self.samples)

    def _pass(self, x: Tensor, draws: Draws) -> Tensor:
        return self._model(x if self._transformation is None else self._transformation(x, draws))
