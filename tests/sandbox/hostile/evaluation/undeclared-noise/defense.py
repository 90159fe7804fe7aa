import torch
from honest import Hostile


class Noisy(Hostile):
    def forward(self, x):
        return self.net(x) + 5 * torch.randn(len(x), 10)


load = Noisy
