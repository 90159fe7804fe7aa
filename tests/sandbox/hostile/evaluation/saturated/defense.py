from honest import Hostile


class Saturated(Hostile):
    def forward(self, x):
        return 1e6 * self.net(x)


load = Saturated
