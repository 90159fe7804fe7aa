"""Denoised smoothing: a denoiser in front of a frozen classifier makes it fit for smoothing (Salman et al. 2020, sec. 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluator.defenses.training.method import Loss, Method, Minibatch
from evaluator.errors import InputError


class Denoised(nn.Module):
    """classifier(x - denoiser(x)): the denoiser predicts the noise (residual learning, Zhang et al. 2017, DnCNN).

    The classifier's weights are frozen and it stays in evaluation mode. Input (n, channels, H, W), noisy, not clipped.
    """

    def __init__(self, classifier: nn.Module, channels: int, width: int = 32, depth: int = 5) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.denoiser = nn.Sequential(*layers, nn.Conv2d(width, channels, 3, padding=1))
        self.classifier = classifier.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Denoised:
        """Only the denoiser follows: the classifier is the one that is to be certified."""
        super().train(mode)
        self.classifier.eval()
        return self

    def clean(self, x: Tensor) -> Tensor:
        """The denoised images."""
        restored: Tensor = x - self.denoiser(x)
        return restored

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.clean(x))
        return logits


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
