"""A denoiser in front of a frozen classifier (Salman et al. 2020, "Denoised Smoothing", sec. 3)."""

from __future__ import annotations

from torch import Tensor, nn

from evaluator.defenses.networks.mnist_cnn import mnist_cnn
from evaluator.defenses.networks.resnet import cifar_resnet8


class Denoised(nn.Module):
    """classifier(x - denoiser(x)): the denoiser predicts the noise (residual learning, Zhang et al. 2017, DnCNN).

    The classifier's weights are frozen and it stays in evaluation mode. Input (n, channels, H, W), noisy, not clipped.
    factor: each factor x factor patch becomes one pixel of the denoiser, which divides H and W (Zhang et al. 2018, FFDNet):
    its cost falls with the square of it, and as many layers see that much further.
    """

    def __init__(self, classifier: nn.Module, channels: int, width: int = 32, depth: int = 5, factor: int = 1) -> None:
        super().__init__()
        folded = channels * factor**2
        layers: list[nn.Module] = [nn.PixelUnshuffle(factor), nn.Conv2d(folded, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.denoiser = nn.Sequential(*layers, nn.Conv2d(width, folded, 3, padding=1), nn.PixelShuffle(factor))
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


def mnist_denoised_cnn() -> nn.Module:
    """For (1, 28, 28): mnist-cnn behind a denoiser of five convolutions on 14 x 14 patches, 378 k weights in all."""
    return Denoised(mnist_cnn(), 1, factor=2)


def cifar_denoised_resnet8() -> nn.Module:
    """For (3, 32, 32): cifar-resnet8 behind a denoiser of five convolutions, 338 k weights in all."""
    return Denoised(cifar_resnet8(), 3)
