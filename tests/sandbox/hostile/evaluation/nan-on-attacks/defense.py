import torch
from honest import Hostile, from_a_file


class Undefined(Hostile):
    def forward(self, x):
        return torch.where(from_a_file(x)[:, None], self.net(x), torch.nan)


load = Undefined
