from honest import Hostile, from_a_file


class Replaying(Hostile):
    def forward(self, x):
        known, answers = self.remembered(x, radius=0.25)
        new = from_a_file(x) & ~known
        self.seen = (self.seen + list(zip(x.detach()[new], answers.detach()[new], strict=True)))[:100]
        return answers


load = Replaying
