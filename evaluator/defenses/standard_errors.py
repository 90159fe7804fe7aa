"""Asks the shipped standard networks about every common corruption of the test split: what mCE is measured by.

`python -m evaluator.defenses.standard_errors DATASET EXAMPLES` writes the file that `evaluator.data.standard_errors` reads.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any, Literal

import torch

from evaluator.data.standard_errors import FOLDER, packed
from evaluator.data.tensors import examples
from evaluator.defenses.architectures import load_weights
from evaluator.defenses.recipes import BASELINES
from evaluator.ensembles.every_point import corruption_errors
from evaluator.manifests.data_specs import DataSpec
from evaluator.models.access import labels
from evaluator.threats.corruptions import Corruptions

EVERY = Corruptions((1, 5))
_ARCHITECTURES = {"mnist": "mnist-cnn", "cifar10": "cifar-resnet8"}


def measure(dataset: Literal["mnist", "cifar10"], count: int) -> dict[str, Any]:
    """The content of the file about the first `count` test images of `dataset`."""
    part = examples(DataSpec(dataset=dataset, split="test", examples=count))
    name = f"{dataset}-standard"
    network = load_weights(_ARCHITECTURES[dataset], BASELINES / name / "weights.safetensors").eval().requires_grad_(False)
    clean = torch.cat([labels(network, x) != y for x, y in zip(part.x.split(250), part.y.split(250), strict=True)])
    errors = corruption_errors(lambda x, y: labels(network, x), part.x, part.y, EVERY)
    return {
        "network": name,
        "weights": hashlib.sha256((BASELINES / name / "weights.safetensors").read_bytes()).hexdigest(),
        "data": part.digest,
        "split": "test",
        "examples": count,
        "kinds": list(EVERY.kinds),
        "severities": list(EVERY.severities),
        "made_by": f"python -m evaluator.defenses.standard_errors {dataset} {count}",
        "clean": packed(clean.numpy()),
        "errors": packed(errors.numpy()),
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    name, examples_asked = sys.argv[1:]
    found = measure(name, int(examples_asked))  # type: ignore[arg-type]
    (FOLDER / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
