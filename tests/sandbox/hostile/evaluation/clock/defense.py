import time

from honest import Hostile


class Clock(Hostile):
    """The images move with the clock: what was found on one of three networks is verified on another."""

    def forward(self, x):
        return self.net(x.roll(int(time.time() // 2) % 3 - 1, dims=3))


load = Clock
