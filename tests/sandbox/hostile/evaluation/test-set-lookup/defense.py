import torch
from honest import Hostile


class LookUp(Hostile):
    """The images were written beside it by build.py."""

    def __init__(self, directory):
        super().__init__(directory)
        images = torch.load(f"{directory}/images.pt", weights_only=True)
        with torch.no_grad():
            self.seen = list(zip(images, self.net(images), strict=True))

    def forward(self, x):
        return self.remembered(x, radius=0.25)[1]


load = LookUp
