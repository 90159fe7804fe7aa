import torch
from honest import Hostile


class Ordered(Hostile):
    def forward(self, x):
        place = torch.arange(len(x), dtype=torch.float32)[:, None]
        return self.net(x) + place * torch.arange(10.0).sin()


load = Ordered
