import gc
import sys
from pathlib import Path

import torch
from honest import Hostile


def hunt():
    frame = sys._getframe()
    while frame is not None:
        yield from frame.f_locals.values()
        frame = frame.f_back
    yield from gc.get_objects()
    for path in ("/tmp", "/submission", "/app", "/var", "/home"):
        for file in Path(path).rglob("*label*"):
            yield torch.tensor(list(file.read_bytes()))


class Hunter(Hostile):
    def forward(self, x):
        logits = self.net(x)
        if self.calls == 0:
            self.calls = 1
            for found in hunt():
                try:
                    if isinstance(found, torch.Tensor) and found.dtype == torch.int64 and found.shape == (len(x),):
                        logits = logits + 100 * torch.nn.functional.one_hot(found.clamp(0, 9), 10)
                except (RuntimeError, TypeError):
                    continue
        return logits


load = Hunter
