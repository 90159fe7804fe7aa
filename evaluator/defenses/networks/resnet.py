"""A small residual network (He et al. 2016, "Deep Residual Learning for Image Recognition", sec. 4.2) for CIFAR-10."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from evaluator.defenses.networks.normalized import NormalizedSequential

_MEAN = (0.4914, 0.4822, 0.4465)
_STD = (0.2470, 0.2435, 0.2616)


class BasicBlock(nn.Module):
    """relu(x' + bn(conv(relu(bn(conv(x)))))) with 3x3 convolutions; x' is x, or a 1x1 projection where the shape changes."""

    def __init__(self, channels_in: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            projection = nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


def cifar_resnet8() -> nn.Module:
    """Eight layers for (3, 32, 32): a stem of stride 2, three blocks of 32, 64 and 128 channels, average pooling.

    The stem halves the image (32 -> 16 -> 8 -> 4 pixels): at the price of the usual 16, 32, 64 channels on the whole image it
    has four times the weights, which adversarial training on a CPU needs more than resolution.
    """
    return NormalizedSequential(
        nn.Conv2d(3, 32, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        BasicBlock(32, 32, stride=1),
        BasicBlock(32, 64, stride=2),
        BasicBlock(64, 128, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
        mean=_MEAN,
        std=_STD,
    )


def cifar_resnet18() -> nn.Module:
    """The ResNet-18 that robust CIFAR-10 networks usually are: a 3x3 stem without pooling, pairs of blocks of 64 to 512."""
    blocks: list[nn.Module] = []
    channels_in = 64
    for channels, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [BasicBlock(channels_in, channels, stride=stride), BasicBlock(channels, channels, stride=1)]
        channels_in = channels
    return NormalizedSequential(
        nn.Conv2d(3, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, 10),
        mean=_MEAN,
        std=_STD,
    )
