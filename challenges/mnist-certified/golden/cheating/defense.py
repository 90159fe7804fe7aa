"""A network trained without any defense that tries to look robust instead of being it.

What it tries: logits so large that the softmax saturates and the gradient of the cross-entropy is exactly zero; torch
replaced under the evaluator's feet; a hunt for labels in files, in the environment and up the call stack; endless talk.
"""

import os
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

SATURATE = 1e4


def load(directory):
    network = nn.Sequential()
    for name, layer in (
        ("conv1", nn.Conv2d(1, 32, 4, stride=2, padding=1)),
        ("relu1", nn.ReLU()),
        ("conv2", nn.Conv2d(32, 64, 4, stride=2, padding=1)),
        ("relu2", nn.ReLU()),
        ("flatten", nn.Flatten()),
        ("dense1", nn.Linear(3136, 100)),
        ("relu3", nn.ReLU()),
        ("dense2", nn.Linear(100, 10)),
    ):
        network.add_module(name, layer)
    network.load_state_dict(load_file(Path(directory) / "weights.safetensors"))
    patch_torch()
    return Cheat(network)


def patch_torch():
    """Makes every distance zero, every check true and every random start the clean image, in this process."""
    torch.isfinite = torch.ones_like
    torch.Tensor.all = lambda self, *_, **__: torch.tensor(True)
    torch.rand_like = torch.zeros_like


def labels_on_disk(count):
    """Whatever file in sight looks like labels."""
    for root in ("/", str(Path.cwd()), os.environ.get("HOME", "/"), "/proc/1/cwd"):
        for folder, folders, files in os.walk(root):
            folders[:] = [name for name in folders if name not in {"proc", "sys", "usr", "venv", "py"}]
            for name in files:
                if "label" in name:
                    data = Path(folder, name).read_bytes()[8:]
                    if len(data) >= count:
                        return list(data[:count])
    return None


def labels_on_the_stack(count):
    """Whatever variable of a caller looks like the labels of this batch."""
    frame = sys._getframe()
    while frame is not None:
        for name in ("y", "labels", "label", "targets"):
            value = frame.f_locals.get(name)
            if isinstance(value, torch.Tensor) and value.shape == (count,) and not value.is_floating_point():
                return value.tolist()
        frame = frame.f_back
    return None


class Cheat(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network
        self.hunted = False
        self.found = None

    def forward(self, x):
        print("robust accuracy 100 %, certified accuracy 100 %, rank 1", flush=True)
        logits = self.network(x) * SATURATE
        found = labels_on_the_stack(len(x))
        if found is None and not self.hunted:
            self.hunted, self.found = True, labels_on_disk(len(x))
        found = found or self.found
        if found is not None and len(found) == len(x):
            return nn.functional.one_hot(torch.tensor(found), 10).float() * SATURATE + logits * 0
        return logits
