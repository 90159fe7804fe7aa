"""The errors of the shipped standard networks under common corruptions, by which mCE is measured. Torch-free.

One file a data set: one bit for each image, kind and severity, in the first realization, which is the same picture for
everybody. The images are the first ones of the test split. So any part of them has its reference without asking the network
again. A file names the network, its weights and the data by their digests. It also names the command that wrote it
(`evaluator.defenses.standard_errors`).
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluator.records.report import StandardErrors

FOLDER = Path(__file__).resolve().parent / "corruption_errors"


def standard_errors(digest: str, ids: Sequence[int], kinds: Sequence[str], severities: Sequence[int]) -> StandardErrors | None:
    """The standard network's errors on images `ids` of the split whose content has that digest; None where unknown."""
    known = _by_data().get(digest)
    if known is None or not ids or max(ids) >= known["examples"]:
        return None
    shape = (known["examples"], len(known["kinds"]), len(known["severities"]))
    errors = unpacked(known["errors"], shape)[list(ids)].sum(axis=0, dtype=np.int64)
    clean = unpacked(known["clean"], shape[:1])[list(ids)]
    counts = [[int(errors[known["kinds"].index(k), known["severities"].index(s)]) for s in severities] for k in kinds]
    return StandardErrors(network=known["network"], clean_errors=int(clean.sum()), errors=counts)


@functools.cache
def _by_data() -> dict[str, dict[str, Any]]:
    """Digest of a split's content -> the file about it."""
    return {known["data"]: known for known in (json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json")))}


def packed(bits: npt.NDArray[np.bool_]) -> str:
    """Bits as text."""
    return base64.b64encode(np.packbits(bits.reshape(-1)).tobytes()).decode()


def unpacked(text: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """The bits of that shape that `packed` made into text."""
    count = int(np.prod(shape))
    return np.unpackbits(np.frombuffer(base64.b64decode(text), dtype=np.uint8), count=count).reshape(shape)
