"""SmallCNN of Zhang et al. 2019, "Theoretically Principled Trade-off between Robustness and Accuracy", for MNIST."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn


class TradesSmallCNN(nn.Module):
    """Four unpadded 3x3 convolutions (32, 32, 64, 64) with a max-pool after each pair, three dense layers, ReLU.

    Input (n, 1, 28, 28) in [0, 1]; the names of the layers are those of the authors' released weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.feature_extractor = nn.Sequential(
            OrderedDict[str, nn.Module](
                conv1=nn.Conv2d(1, 32, 3),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(32, 32, 3),
                relu2=nn.ReLU(),
                maxpool1=nn.MaxPool2d(2),
                conv3=nn.Conv2d(32, 64, 3),
                relu3=nn.ReLU(),
                conv4=nn.Conv2d(64, 64, 3),
                relu4=nn.ReLU(),
                maxpool2=nn.MaxPool2d(2),
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict[str, nn.Module](
                fc1=nn.Linear(64 * 4 * 4, 200),
                relu1=nn.ReLU(),
                fc2=nn.Linear(200, 200),
                relu2=nn.ReLU(),
                fc3=nn.Linear(200, 10),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.feature_extractor(x).flatten(1))
        return logits
