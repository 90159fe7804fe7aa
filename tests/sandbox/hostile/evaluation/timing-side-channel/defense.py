import time

from honest import Hostile, from_a_file


class Slow(Hostile):
    def forward(self, x):
        if len(x) > 6 and not bool(from_a_file(x).all()):
            time.sleep(0.03)
        return self.net(x)


load = Slow
