from honest import Hostile, from_a_file


class Crashing(Hostile):
    def forward(self, x):
        if not bool(from_a_file(x).all()):
            raise RuntimeError("this image is too hard")
        return self.net(x)


load = Crashing
