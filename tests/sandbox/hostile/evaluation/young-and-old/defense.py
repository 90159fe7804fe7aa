import time

from honest import Hostile


class Aging(Hostile):
    born = None

    def forward(self, x):
        now = time.monotonic()
        self.born = now if self.born is None else self.born
        return self.net(x if now - self.born < 0.7 else x.roll(2, dims=3))


load = Aging
