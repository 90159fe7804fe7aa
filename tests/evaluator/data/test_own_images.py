"""An organiser's own images: what is read, what is refused and with which words, and that a changed file is named."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from evaluator.data import own
from evaluator.data.tensors import examples, training, unranked
from evaluator.errors import InputError, PlatformError
from evaluator.manifests.data_specs import DataSpec

CLASSES = ("circle", "square")
RNG = np.random.default_rng(0)
X, Y = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8), np.array([0, 1, 0, 1, 0, 1])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDOUBT_CACHE", str(tmp_path / "cache"))


def spec(**changed: Any) -> DataSpec:
    fields = {"dataset": "files", "path": "data/test.npz", "classes": CLASSES, "shape": (3, 5, 4), "examples": 4}
    return DataSpec.model_validate(fields | changed)


def saved(folder: Path, x: NDArray[Any] = X, y: NDArray[Any] = Y, name: str = "data/test.npz") -> Path:
    (folder / name).parent.mkdir(exist_ok=True)
    np.savez(folder / name, x=x, y=y)
    return folder


def frozen(folder: Path, **changed: Any) -> DataSpec:
    asked = spec(**changed)
    lines = own.listing(folder, str(asked.path))
    (folder / f"{asked.path}.sha256").write_text(lines)
    return asked.model_copy(update={"digest": own.digest_of(lines)})


@pytest.mark.parametrize(
    "x",
    [X, X.transpose(0, 3, 1, 2), X / 255, (X / 255).astype(np.float32)],
    ids=["bytes, channels last", "channels first", "float64", "float32"],
)
def test_the_same_images_in_every_layout_and_type_are_the_same_examples(tmp_path: Path, x: NDArray[Any]) -> None:
    data = frozen(saved(tmp_path, x))
    own.keep(data, tmp_path)
    ranked = examples(data)
    assert torch.equal(ranked.x, torch.from_numpy(X[:4].transpose(0, 3, 1, 2).copy()).float() / 255)
    assert ranked.y.tolist() == [0, 1, 0, 1]
    assert (ranked.classes, ranked.ids.tolist()) == (2, [0, 1, 2, 3])
    others = unranked(data, 10, seed=1)
    assert others is not None
    assert others.ids.tolist() == [4, 5]


def test_floats_between_the_levels_of_a_byte_stay_as_they_are(tmp_path: Path) -> None:
    x = RNG.random((6, 5, 4, 3))
    data = frozen(saved(tmp_path, x))
    own.keep(data, tmp_path)
    assert torch.equal(examples(data).x, torch.from_numpy(x[:4].transpose(0, 3, 1, 2).astype(np.float32)))


def test_gray_images_need_no_channel(tmp_path: Path) -> None:
    data = frozen(saved(tmp_path, X[..., 0]), shape=(1, 5, 4))
    own.keep(data, tmp_path)
    assert examples(data).x.shape == (4, 1, 5, 4)


def test_images_for_training_are_given_where_the_organisers_give_them(tmp_path: Path) -> None:
    saved(saved(tmp_path), X[::-1].copy(), Y[::-1].copy(), "data/train.npz")
    data = frozen(tmp_path, train="data/train.npz")
    data = data.model_copy(update={"train_digest": own.digest_of(own.listing(tmp_path, "data/train.npz"))})
    own.keep(data, tmp_path)
    assert training(data).y.tolist() == [1, 0, 1, 0, 1, 0]
    with pytest.raises(InputError, match="gives no images for training"):
        training(spec())


def changed(x: NDArray[Any], at: tuple[int, ...], value: float) -> NDArray[Any]:
    x = x.copy()
    x[at] = value
    return x


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (X[:, :4], Y, "has shape (6, 4, 4, 3); challenge.toml says images of 5 x 4 with 3 channels"),
        (X.astype(np.int32), Y, "is int32. Use uint8 from 0 to 255"),
        (X.astype(np.float32), Y, "floats must be in [0, 1]. It looks like 0 to 255"),
        (X / 255 - 0.5, Y, "floats must be in [0, 1]. Scale it"),
        (changed(X / 255, (2, 0, 0, 0), np.nan), Y, "image 2 holds a value that is not finite"),
        (changed(X / 255, (3, 0, 0, 0), np.inf), Y, "image 3 holds a value that is not finite"),
        (X, Y + 1, "label 2 of image 1 is none of the 2 classes. Labels run from 0 to 1"),
        (X, Y - 1, "label -1 of image 0 is none of the 2 classes"),
        (X, Y.astype(np.float32), "is float32 of shape (6,); it must be 6 integers"),
        (X, np.eye(2, dtype=np.int64)[Y], "is int64 of shape (6, 2)"),
        (X, Y[:5], "is int64 of shape (5,); it must be 6 integers"),
        (X, np.zeros(6, dtype=np.int64), 'class "square" has no image'),
        (X[[0, 1, 2, 3, 4, 0]], Y, "images 0 and 5 are the same"),
        (X[:0], Y[:0], "holds no image"),
        (np.array([[object()]]), Y, '"x" holds Python objects'),
    ],
)
def test_wrong_arrays_are_refused_with_what_is_wrong(tmp_path: Path, x: NDArray[Any], y: NDArray[Any], said: str) -> None:
    data = frozen(saved(tmp_path, x, y))
    with pytest.raises(InputError) as refused:
        own.keep(data, tmp_path)
    assert said in str(refused.value)


def _without(name: str) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **{name: X})
    return stream.getvalue()


def _claims_a_terabyte() -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 30, 1 << 10)})
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x.npy", header.getvalue())
        archive.writestr("y.npy", header.getvalue())
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a readable .npz"),
        (b"PK\x03\x04 and no more", "is not a readable .npz"),
        (_without("x")[:300], "is not a readable .npz"),
        (_without("x"), 'has no array "y"'),
        (_without("y"), 'has no array "x"'),
        (_claims_a_terabyte(), '"x" says that it has 1,099,511,627,776 bytes'),
    ],
)
def test_files_that_are_no_arrays_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    saved(tmp_path)
    (tmp_path / "data/test.npz").write_bytes(content)
    with pytest.raises(InputError) as refused:
        own.keep(frozen(tmp_path), tmp_path)
    assert said in str(refused.value)


def pictures(folder: Path) -> Path:
    for row, (image, label) in enumerate(zip(X, Y, strict=True)):
        (folder / "data" / CLASSES[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / "data" / CLASSES[label] / f"{row}.png")
    return folder


def test_a_folder_of_pictures_is_read_class_by_class_in_turn(tmp_path: Path) -> None:
    data = frozen(pictures(tmp_path), path="data")
    (tmp_path / "data" / ".DS_Store").write_bytes(b"what a Mac leaves")
    own.keep(data, tmp_path)
    assert examples(data).y.tolist() == [0, 1, 0, 1]
    assert torch.equal(examples(data).x, torch.from_numpy(X[:4].transpose(0, 3, 1, 2).copy()).float() / 255)


def _rotated(file: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(X[0]).save(file, exif=exif)


def _bomb(file: Path) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)))


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda file: file.write_bytes(file.read_bytes()[:-20]), "circle/0.png: is no readable PNG"),
    "text": (lambda file: file.write_text("hello"), "circle/0.png: is no readable PNG"),
    "svg": (lambda file: file.write_text("<svg/>"), "circle/0.png: is no readable PNG"),
    "other size": (lambda file: Image.new("RGB", (5, 4)).save(file), "has 4 x 5 pixels; challenge.toml says 5 x 4"),
    "palette": (lambda file: Image.new("P", (4, 5)).save(file), 'mode "P" where "RGB" is needed'),
    "16 bit": (lambda file: Image.new("I;16", (4, 5)).save(file), 'mode "I;16" where "RGB" is needed'),
    "alpha": (lambda file: Image.new("RGBA", (4, 5)).save(file), 'mode "RGBA" where "RGB" is needed'),
    "rotated by EXIF": (_rotated, "carries a rotation in its EXIF data"),
    "decompression bomb": (_bomb, "circle/0.png: is no readable PNG"),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_pictures_that_would_be_read_as_something_else_are_refused(tmp_path: Path, kind: str) -> None:
    spoil, said = SPOILED[kind]
    spoil(pictures(tmp_path) / "data/circle/0.png")
    with pytest.raises(InputError) as refused:
        own.keep(frozen(tmp_path, path="data"), tmp_path)
    assert said in str(refused.value)


def test_folders_are_the_classes(tmp_path: Path) -> None:
    (pictures(tmp_path) / "data/square").rename(tmp_path / "data/squares")
    with pytest.raises(InputError, match=r'data: class "square" has no folder. Did you mean "squares"\?'):
        own.keep(frozen(tmp_path, path="data"), tmp_path)


def test_a_changed_a_lost_and_a_new_file_are_named(tmp_path: Path) -> None:
    data = frozen(pictures(tmp_path), path="data")
    Image.new("RGB", (4, 5)).save(tmp_path / "data/square/3.png")
    with pytest.raises(InputError, match=r"data/square/3.png: has changed since the pack was frozen"):
        own.keep(data, tmp_path)
    data = frozen(tmp_path, path="data")
    (tmp_path / "data/circle/2.png").unlink()
    with pytest.raises(InputError, match=r"data/circle/2.png: has changed"):
        own.keep(data, tmp_path)


def test_a_link_that_leads_out_of_the_pack_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pack/data").mkdir(parents=True)
    saved(tmp_path, name="secret.npz")
    (tmp_path / "pack/data/test.npz").symlink_to(tmp_path / "secret.npz")
    with pytest.raises(InputError, match="leads out of the pack"):
        own.listing(tmp_path / "pack", "data/test.npz")


def test_more_ranked_images_than_there_are_is_an_error_of_the_manifest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data.examples: must be at most 6, the images in data/test.npz, not 7"):
        own.keep(frozen(saved(tmp_path), examples=7), tmp_path)


def test_images_that_are_not_frozen_or_not_here_are_an_error_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not frozen. Run `redoubt challenge freeze`"):
        own.keep(spec(), saved(tmp_path))
    with pytest.raises(PlatformError, match="not on this machine"):
        own.load("0" * 64)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"path": None}, "is missing"),
        ({"classes": ("one",)}, "2 to 1000 names"),
        ({"classes": ("one", "one")}, 'names "one" twice'),
        ({"shape": (2, 5, 4)}, "1 or 3 channels"),
        ({"shape": (3, 513, 4)}, "1 to 512 pixels"),
        ({"path": "../outside.npz"}, "inside the submission"),
        ({"dataset": "mnist"}, 'is of dataset = "files"'),
        ({"split": "train"}, 'must be "test"'),
    ],
)
def test_a_manifest_with_own_images_says_what_they_are(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        spec(**fields)
