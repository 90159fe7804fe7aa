"""How a process that computes with tensors is set up: its threads, and what its allocator keeps."""

from __future__ import annotations

import ctypes
import os

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_APART_BYTES = 32 << 20  # what is larger is mapped by itself: among the smaller ones it would leave gaps
_KEPT_BYTES = 256 << 20


def settle(threads: int) -> None:
    """Computes on `threads` threads and keeps freed memory for the next pass, from now on and in the whole process.

    The threads must be set: inside a sandbox MKL assumes one processor. By default the C library returns the memory of
    every large tensor to the kernel and asks for it again, page by page, in the next pass. That is a tenth of a network's time.
    """
    torch.set_num_threads(threads)
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # glibc's
        library.mallopt(_MMAP_THRESHOLD, _APART_BYTES)
        library.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def without_compilers() -> None:
    """torch.compile hands back what it is given, in the whole process: a sandbox has no compiler, and verdicts are eager.

    See docs/decisions/0009-float32-and-eager.md.
    """
    os.environ["TORCHDYNAMO_DISABLE"] = "1"
