"""Data sets with pinned digests: `fetch` gets the files (torch-free), `load` and `examples` give tensors.

The tensor part is imported only when it is asked for, so that the web and the command line can fetch without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evaluator.data.fetching import Fetching, cache_folder, fetch

if TYPE_CHECKING:
    from evaluator.data.tensors import Dataset, Examples, examples, load

__all__ = ["Dataset", "Examples", "Fetching", "cache_folder", "examples", "fetch", "load"]


def __getattr__(name: str) -> Any:
    if name not in {"Dataset", "Examples", "examples", "load"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from evaluator.data import tensors

    return getattr(tensors, name)
