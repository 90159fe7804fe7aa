"""An uploaded array is a stranger's bytes: anything but the array asked for is refused in words."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluator.errors import SubmissionError
from evaluator.judging.array_claims import read_array

SHAPE = (6, 1, 4, 4)
ARRAY = np.random.default_rng(0).random(SHAPE, dtype=np.float32)


def npy(array: np.ndarray, **options: bool) -> bytes:  # type: ignore[type-arg]
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def npz(save: Callable[..., None] = np.savez, **arrays: np.ndarray) -> bytes:  # type: ignore[type-arg]
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def header(text: str, values: bytes = b"") -> bytes:
    return b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text.encode() + values


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(1 << 24))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [npy(ARRAY), npy(np.asfortranarray(ARRAY)), npz(x_adv=ARRAY), npz(np.savez_compressed, anything=ARRAY)],
    ids=["npy", "Fortran order", "npz", "compressed npz"],
)
def test_the_array_comes_out_as_it_was_saved(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    assert torch.equal(read_array(tmp_path / "a.npy", SHAPE), torch.from_numpy(ARRAY))


def test_values_are_not_judged_here(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full(SHAPE, np.nan, dtype=np.float32))
    assert bool(read_array(tmp_path / "a.npy", SHAPE).isnan().all())


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (npy(np.array([{"a": 1}] * 6, dtype=object), allow_pickle=True), "dtype", "Python objects"),
        (b"\x80\x04K\x01.", "manifest", "not a .npy array"),
        (b"", "manifest", "not a .npy array"),
        (npy(ARRAY[:5]), "shape", "(5, 1, 4, 4); this challenge needs (6, 1, 4, 4)"),
        (npy(ARRAY.reshape(6, 16)), "shape", "(6, 16)"),
        (npy(ARRAY.astype(np.float64)), "dtype", "float64"),
        (npy((ARRAY * 255).astype(np.uint8)), "dtype", "uint8"),
        (npy(ARRAY.astype(">f4")), "dtype", ">f4"),
        (npy(ARRAY)[:-7], "shape", "cut off"),
        (npy(ARRAY) + b"more", "shape", "bytes of values"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (6,) }" + " " * 100_000), "manifest", "not a .npy array"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 9999999999) }"), "shape", "99999999999"),
        (header("__import__('os').abort()"), "manifest", "not a .npy array"),
        (header("(" * 4000), "manifest", "not a .npy array"),
        (b"\x93NUMPY\x03\x00" + npy(ARRAY)[8:], "manifest", "version"),
        (npz(a=ARRAY, b=ARRAY), "shape", "holds 2 arrays"),
        (npz(a=np.array([None] * 6, dtype=object)), "dtype", "Python objects"),
        (bomb(), "oversized", "unpacks to 16777216 bytes"),
        (b"PK\x03\x04 no archive", "manifest", "readable .npz"),
    ],
)
def test_anything_else_is_refused_in_words(tmp_path: Path, content: bytes, reason: str, words: str) -> None:
    (tmp_path / "adversarial.npy").write_bytes(content)
    with pytest.raises(SubmissionError) as failure:
        read_array(tmp_path / "adversarial.npy", SHAPE)
    assert failure.value.reason == reason
    assert words in str(failure.value)
    assert "adversarial.npy" in str(failure.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="not in the submission"):
        read_array(tmp_path / "adversarial.npy", SHAPE)


def test_damaged_archives_are_refused_in_words(tmp_path: Path) -> None:
    good = npz(np.savez_compressed, x=ARRAY)
    for place in range(0, len(good), 7):
        (tmp_path / "a.npz").write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        try:
            read = read_array(tmp_path / "a.npz", SHAPE)
        except SubmissionError:
            continue
        assert read.shape == SHAPE
