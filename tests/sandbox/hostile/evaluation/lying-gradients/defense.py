import torch
from honest import Hostile


class Lie(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -gradient.flip(-1)


class Lying(Hostile):
    def forward(self, x):
        return self.net(Lie.apply(x))


load = Lying
