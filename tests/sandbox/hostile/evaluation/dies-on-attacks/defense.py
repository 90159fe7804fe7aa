import os

from honest import Hostile, from_a_file


class Dying(Hostile):
    def forward(self, x):
        if not bool(from_a_file(x).all()):
            os._exit(0)
        return self.net(x)


load = Dying
