import torch
from honest import Hostile


class TwoFaced(Hostile):
    def forward(self, x):
        logits = self.net(x)
        return logits.roll(1, dims=1) if torch.is_grad_enabled() else logits


load = TwoFaced
