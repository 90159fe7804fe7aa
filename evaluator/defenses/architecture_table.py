"""Writes evaluator/manifests/architectures.json, what every architecture is made of: run it with `python -m`."""

from __future__ import annotations

import json

import torch

from evaluator.defenses import architectures
from evaluator.manifests.architecture_shapes import TABLE

_DTYPES = {torch.float32: "F32", torch.int64: "I64"}  # as safetensors names them


def text() -> str:
    """The table as JSON, one architecture a line."""
    lines = []
    for name in architectures.names():
        entry = architectures.find(name)
        tensors = {key: [_DTYPES[value.dtype], list(value.shape)] for key, value in entry.factory().state_dict().items()}
        lines.append(f"{json.dumps(name)}: {json.dumps({'shape': entry.shape, 'classes': entry.classes, 'tensors': tensors})}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    TABLE.write_text(text())
