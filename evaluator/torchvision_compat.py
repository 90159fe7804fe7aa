"""The one way to import torchvision here: `from evaluator.torchvision_compat import torchvision`.

torchvision's wheel carries compiled operators. Beside a CPU-only torch they cannot be loaded, and torchvision's import
then fails, because it registers shape functions for `torchvision::nms` and `torchvision::qnms`, which nobody has
declared. Declaring the two schemas first lets the import through. Only the schemas exist then: calling the operators
still raises, which is right, for nothing here detects boxes. Where torchvision can load its operators, nothing is
declared.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def _operators_load() -> bool:
    """Whether torchvision's compiled operators can be loaded beside this torch (loading twice does no harm)."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True
    for library in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(library)
        except OSError:
            return False
    return all(hasattr(torch.ops.torchvision, name) for name in _SCHEMAS)


_declared = None if _operators_load() else torch.library.Library("torchvision", "DEF")
if _declared is not None:
    for _name, _schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, _name):
            _declared.define(_schema)

import torchvision  # noqa: E402  (the declarations must come first)

__all__ = ["torchvision"]
