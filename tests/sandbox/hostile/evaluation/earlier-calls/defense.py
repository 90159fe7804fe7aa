import torch
from honest import Hostile


class Drifting(Hostile):
    last = torch.zeros(())

    def forward(self, x):
        before, self.last = self.last, x.detach().flatten(1).mean()
        self.calls += 1
        return self.net(x) + (3 * before + self.calls % 7) * torch.arange(10.0).sin()


load = Drifting
