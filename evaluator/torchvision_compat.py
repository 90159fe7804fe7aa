"""Makes `import torchvision` work in this process, beside whatever build of torch is here.

torchvision's wheel carries compiled operators. Beside a torch of another build (without CUDA, say) they cannot be loaded. And
torchvision's import then fails, because it registers shape functions for `torchvision::nms` and `torchvision::qnms`, which
nobody has declared. Declaring the two schemas first lets the import through. Only the schemas exist then: calling the operators
still raises, which is right, for nothing here detects boxes. Where torchvision can load its operators, nothing is declared.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_libraries: list[torch.library.Library] = []  # a declaration lasts as long as its library


def let_torchvision_be_imported() -> None:
    """From now on `import torchvision` works, in code of ours and in submitted code; it costs nothing until somebody does."""
    if "torchvision" not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds nothing: it is asked just before torchvision is imported, and once."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            _declare()
        return None


def _declare() -> None:
    if _operators_load():
        return
    library = torch.library.Library("torchvision", "DEF")
    _libraries.append(library)
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)


def _operators_load() -> bool:
    """Whether torchvision's compiled operators can be loaded beside this torch (loading twice does no harm)."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True
    for compiled in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(compiled)
        except OSError:
            return False
    return all(hasattr(torch.ops.torchvision, name) for name in _SCHEMAS)
