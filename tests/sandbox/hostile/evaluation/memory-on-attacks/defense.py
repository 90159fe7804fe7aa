from honest import Hostile, from_a_file


class Hoarding(Hostile):
    def forward(self, x):
        if not bool(from_a_file(x).all()):
            self.hoard = bytearray(b"x" * (8 << 30))
        return self.net(x)


load = Hoarding
