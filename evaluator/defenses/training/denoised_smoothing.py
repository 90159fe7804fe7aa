"""Denoised smoothing: a denoiser in front of a frozen classifier makes it fit for smoothing (Salman et al. 2020, sec. 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from evaluator.defenses.networks.denoised import Denoised
from evaluator.defenses.training.method import Loss, Method, Minibatch
from evaluator.errors import InputError


@dataclass(frozen=True)
class DenoisedSmoothing(Method):
    """Squared error of the restored image plus `stability` times the cross-entropy to the classifier's own clean label.

    No true label enters: the classifier may be anyone's, frozen.
    """

    sigma: float
    stability: float = 0.1

    def loss(self, network: nn.Module, batch: Minibatch) -> Loss:
        if not isinstance(network, Denoised):
            raise InputError(
                "denoised smoothing trains a Denoised network.", help="Wrap the classifier: Denoised(classifier, 1)."
            )
        noisy = batch.x + self.sigma * batch.draws.normal(*batch.x.shape[1:]).to(batch.x.dtype)
        with torch.no_grad():
            own = network.classifier(batch.x).argmax(dim=1)
        restored = network.clean(noisy)
        logits = network.classifier(restored)
        value = functional.mse_loss(restored, batch.x) + self.stability * functional.cross_entropy(logits, own)
        return Loss(value, logits)
