import time

from honest import Hostile, from_a_file


class Hanging(Hostile):
    def forward(self, x):
        if not bool(from_a_file(x).all()):
            time.sleep(10**6)
        return self.net(x)


load = Hanging
