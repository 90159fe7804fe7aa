"""What files inside a submission may hold: weights without code."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from typing import Any

import numpy as np
import pytest

from arena.submissions.intake import inspect
from tests.web.backend_support import MANIFEST, good_files, zipped
from tests.web.intake_support import LIMITS, refused

CODE = {"defense.toml": 'name = "Code"\nformat = "python"\nentry = "defense.py"\n', "defense.py": "def load(directory): ...\n"}
LEGACY_TORCH = (
    pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps(1001, protocol=2) + pickle.dumps({"a": 1}, protocol=2)
)


def torch_zip(prefix: str = "archive") -> bytes:
    """What torch.save writes: a stored zip whose data.pkl is a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{prefix}/data.pkl", pickle.dumps({"weight": 1}, protocol=2))
        archive.writestr(f"{prefix}/data/0", bytes(64))
    return buffer.getvalue()


def saved(save: Any, *args: Any, **kwargs: Any) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *args, **kwargs)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "name",
    ["weights.pt", "weights.pth", "weights.bin", "weights.npz", "model.zip", "weights.txt", "weights"],
)
@pytest.mark.parametrize("data", [torch_zip(), LEGACY_TORCH, pickle.dumps({"a": [1, 2]}, protocol=4)])
def test_a_torch_pickle_is_refused_by_its_content_whatever_it_is_called(name: str, data: bytes) -> None:
    message = refused(zipped({**CODE, name: data}))
    assert "pickle" in message
    assert "save_file(model.state_dict()" in message


def test_a_pickle_of_protocol_0_is_refused_by_its_name() -> None:
    assert "pickle" in refused(zipped({**CODE, "weights.pkl": pickle.dumps({"a": 1}, protocol=0)}))


def test_a_pickle_as_the_weights_of_the_manifest_says_how_to_convert_it() -> None:
    message = refused(zipped({"defense.toml": MANIFEST, "weights.safetensors": "x"}))
    assert "not a safetensors file" in message
    pickled = refused(zipped({"defense.toml": MANIFEST.replace(".safetensors", ".pt"), "weights.pt": torch_zip()}))
    assert "from safetensors.torch import save_file" in pickled


def test_plain_numpy_arrays_are_accepted_and_pickled_ones_are_not() -> None:
    plain, objects = np.arange(4.0), np.array([{"a": 1}], dtype=object)
    fine = {"a.npy": saved(np.save, plain), "b.npz": saved(np.savez_compressed, x=plain)}
    inspect(io.BytesIO(zipped({**CODE, **fine})), limits=LIMITS)
    assert "pickle" in refused(zipped({**CODE, "a.npy": saved(np.save, objects)}))
    assert "plain array" in refused(zipped({**CODE, "b.npz": saved(np.savez, x=objects)}))


def test_text_and_binary_files_of_other_kinds_are_accepted() -> None:
    others = {"data.bin": bytes(range(256)), "notes.md": "# x", "x.json": "[]", "header.bin": b"\x80\x04" + bytes(200)}
    inspect(io.BytesIO(zipped({**CODE, **others})), limits=LIMITS)


def test_safetensors_whose_header_length_looks_like_a_pickle_is_accepted() -> None:
    body = json.dumps({"weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode().ljust(0x480)
    data = struct.pack("<Q", len(body)) + body + bytes(8)
    assert data[:2] == b"\x80\x04"
    inspect(io.BytesIO(zipped({**good_files(), "weights.safetensors": data})), limits=LIMITS)


def header(table: Any, *, body: int = 8, length: int | None = None) -> bytes:
    raw = table if isinstance(table, bytes) else json.dumps(table).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + bytes(body)


def tensor(**changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        header({"w": tensor()}, length=1 << 62),
        header({"w": tensor()}, length=10_000),
        header(b"not json at all"),
        header(b"[1, 2]"),
        header(b'{"w": ' * 10_000),
        header(b'{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "w": {}}'),
        header({"w": tensor(dtype="OBJECT")}),
        header({"w": tensor(shape=[3])}),
        header({"w": tensor(shape=[-2])}),
        header({"w": tensor(shape=[1 << 40, 1 << 40])}),
        header({"w": tensor(shape=[2.0])}),
        header({"w": tensor(shape=[True, 2])}),
        header({"w": tensor(data_offsets=[8, 0])}),
        header({"w": tensor(data_offsets=[0, 8, 16])}),
        header({"w": tensor(data_offsets=[4, 12])}, body=12),
        header({"w": tensor(), "v": tensor()}),
        header({"w": "tensor"}),
        header({"w": tensor()}, body=7),
        header({"w": tensor()}, body=9),
    ],
)
def test_a_malformed_safetensors_file_is_refused(data: bytes) -> None:
    assert "weights.safetensors" in refused(zipped({"defense.toml": MANIFEST, "weights.safetensors": data}))


def test_an_empty_safetensors_file_is_well_formed() -> None:
    inspect(io.BytesIO(zipped({**good_files(), "weights.safetensors": header({}, body=0)})), limits=LIMITS)


def test_metadata_is_not_taken_for_a_tensor() -> None:
    data = header({"__metadata__": {"format": "pt"}, "w": tensor()})
    inspect(io.BytesIO(zipped({**good_files(), "weights.safetensors": data})), limits=LIMITS)


def test_what_safetensors_itself_writes_is_accepted() -> None:
    from safetensors.numpy import save

    arrays = {"a": np.zeros((3, 4), np.float32), "b": np.ones(5, np.int64), "c": np.zeros((0, 2), np.float16)}
    inspect(io.BytesIO(zipped({**good_files(), "weights.safetensors": save(arrays)})), limits=LIMITS)
