"""Archives as everyday tools make them, of a good folder: every one is accepted, and holds the same files."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from arena.submissions.intake import inspect, inspect_folder, unpack
from evaluator.errors import InputError
from tests.web.backend_support import zipped
from tests.web.intake_support import LIMITS, refused, tar_of, tarred, zip_of

PYTHON = 'name = "Code"\nformat = "python"\nentry = "defense.py"\n'
CODE = {"defense.toml": PYTHON, "defense.py": "def load(directory): ...\n"}
APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(100)
MADE = sorted(Path(__file__).with_name("archives").iterdir())


def unpacked(data: bytes, folder: Path) -> set[str]:
    """The files of an accepted archive, as they are on disk: what the inspection says they are."""
    found = inspect(io.BytesIO(data), limits=LIMITS)
    folder.mkdir()
    unpack(io.BytesIO(data), folder, limits=LIMITS)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == set(found.files)
    return files


@pytest.mark.parametrize("archive", MADE, ids=[path.name for path in MADE])
def test_what_a_packing_tool_makes_of_a_good_folder_is_accepted(archive: Path, tmp_path: Path) -> None:
    assert unpacked(archive.read_bytes(), tmp_path / "in") == {"defense.toml", "defense.py"}


@pytest.mark.parametrize(
    "litter",
    [
        "net/.DS_Store", "__MACOSX/net/._defense.py", "._net", "net/._weights", "Thumbs.db", "net/thumbs.db", "desktop.ini",
        "System Volume Information/IndexerVolumeGuid", "$RECYCLE.BIN/S-1-5/x", ".Trash-1000/info/x", ".Spotlight-V100/x",
        "net/.git/HEAD", "net/__pycache__/defense.cpython-311.pyc", "net/.ipynb_checkpoints/defense.py",
        "net/.vscode/settings.json",
        "net/defense.py:Zone.Identifier", "net/~$notes.docx", "net/Icon\r", "PaxHeaders.7/net",
        "net/.idea/a/b/c/d/e/f/g/h/i/j/k/l/m",
    ],
)  # fmt: skip
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_what_systems_and_editors_leave_is_left_out(pack: Callable[..., bytes], litter: str, tmp_path: Path) -> None:
    data = pack({**{f"net/{name}": text for name, text in CODE.items()}, litter: APPLE_DOUBLE})
    assert unpacked(data, tmp_path / "in") == set(CODE)


def test_a_repository_with_many_objects_beside_the_files_is_no_reason_to_refuse(tmp_path: Path) -> None:
    objects = {f".git/objects/{number:04x}": "x" for number in range(LIMITS.members * 2)}
    for name, pack in (("zip", zipped), ("tar", tarred)):
        assert unpacked(pack({**CODE, **objects}), tmp_path / name) == set(CODE)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["plain", "gz", "bz2", "xz"])
def test_a_tar_is_accepted_however_it_is_compressed(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    data = compress(gzip.decompress(tarred(CODE)))
    assert unpacked(data, tmp_path / "in") == set(CODE)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_a_compressed_tar_cut_short_or_with_more_behind_it_is_refused(compress: Callable[[bytes], bytes]) -> None:
    data = compress(gzip.decompress(tarred(CODE)))
    for size in range(8, len(data) - 1, 5):
        refused(data[:size])
    refused(compress(bytes(range(256)) * 40))


def test_an_xz_that_asks_for_a_gigabyte_to_be_unpacked_is_refused() -> None:
    declared = bytearray(lzma.compress(gzip.decompress(tarred(CODE))))
    place = declared.index(b"\x21\x01", 12) + 2  # the block header's filter: LZMA2, one byte of properties
    declared[place] = 36  # a dictionary of 2 ** 30 bytes
    end = 12 + declared[12] * 4
    declared[end : end + 4] = struct.pack("<I", zlib.crc32(bytes(declared[12:end])))
    assert "emory" in refused(bytes(declared))


def test_folders_within_folders_around_everything_are_seen_through(tmp_path: Path) -> None:
    files = {f"my-defense/my-defense/{name}": text for name, text in CODE.items()}
    assert unpacked(zipped({"my-defense/": "", **files}), tmp_path / "in") == set(CODE)


def test_a_manifest_may_be_written_in_capitals(tmp_path: Path) -> None:
    assert unpacked(zipped({"DEFENSE.TOML": PYTHON, "defense.py": ""}), tmp_path / "in") == set(CODE)


def test_a_manifest_with_a_hidden_ending_is_shown_its_name() -> None:
    said = refused(zipped({"defense.toml.txt": PYTHON, "defense.py": ""}))
    assert "Rename it to defense.toml" in said


def test_names_of_old_windows_tools_are_read_as_they_are_meant(tmp_path: Path) -> None:
    data = bytearray(zip_of([(name.replace("/", "\\"), text) for name, text in {**CODE, "lib/net.py": "x"}.items()]))
    place = -1
    while (place := data.find(b"PK\x01\x02", place + 1)) >= 0:
        data[place + 5] = 0  # made by DOS
        data[place + 38 : place + 42] = bytes(4)
    assert unpacked(bytes(data), tmp_path / "in") == {*CODE, "lib/net.py"}


def test_a_backslash_that_leads_outside_is_refused_whoever_wrote_it() -> None:
    data = bytearray(zip_of([*CODE.items(), ("..\\..\\evil.py", "x")]))
    place = -1
    while (place := data.find(b"PK\x01\x02", place + 1)) >= 0:
        data[place + 5] = 0
        data[place + 38 : place + 42] = bytes(4)
    assert "leads elsewhere" in refused(bytes(data))


def test_a_folder_without_its_slash_is_a_folder(tmp_path: Path) -> None:
    assert unpacked(zip_of([*CODE.items(), ("lib", "")], mode=stat.S_IFDIR | 0o755), tmp_path / "in") == set(CODE)


def test_names_with_accents_are_accepted_marked_as_utf_8_or_not(tmp_path: Path) -> None:
    marked = zipped({**CODE, "poids-é.txt": "x"})
    unmarked = bytearray(marked)
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := unmarked.find(magic, place + 1)) >= 0:
            unmarked[place + offset + 1] &= 0xF7
    dos = bytes(unmarked).replace("é".encode(), b"\x82")
    assert unpacked(bytes(unmarked), tmp_path / "mac") == {*CODE, "poids-é.txt"}
    assert len(dos) != len(unmarked)
    assert unpacked(tarred({**CODE, "poids-e\u0301.txt": "x"}), tmp_path / "composed") == {*CODE, "poids-é.txt"}


def test_a_zip64_archive_is_accepted(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in CODE.items():
            with archive.open(name, "w", force_zip64=True) as stream:
                stream.write(text.encode())
    assert unpacked(_with_zip64_end(buffer.getvalue()), tmp_path / "in") == set(CODE)


def _with_zip64_end(data: bytes) -> bytes:
    """The zip with the larger end record before its own, as archives over 4 GB have it."""
    entries, size, offset = struct.unpack("<H2L", data[-12:-2])
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, entries, entries, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(data) - 22, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:-22] + record + locator + end


def test_a_zip64_end_that_lies_is_refused() -> None:
    data = bytearray(_with_zip64_end(zipped(CODE)))
    place = data.rindex(b"PK\x06\x06")
    for offset, width in ((4, 8), (24, 8), (32, 8), (40, 8), (48, 8)):
        lying = bytearray(data)
        lying[place + offset : place + offset + width] = struct.pack("<Q", 7)
        refused(bytes(lying))


def test_a_zip64_end_without_room_for_it_is_refused() -> None:
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, 0, 0, 0)
    for between in range(40):
        refused(b"PK\x06\x07" + bytes(between) + end)
    far = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, 0, 0, 0xFFFF)
    refused(b"PK" + bytes(100) + b"PK\x06\x07" + far + bytes(0xFFFF + 16))


def test_a_stream_of_a_zip_with_sizes_behind_the_data_is_accepted(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]
        for name, text in CODE.items():
            archive.writestr(name, text)
    assert unpacked(pipe.data, tmp_path / "in") == set(CODE)


def test_a_second_name_of_a_file_in_a_tar_is_a_second_copy(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name, text in CODE.items():
        (source / name).write_text(text)
    os.link(source / "defense.py", source / ("z" * 120 + ".py"))
    buffer = io.BytesIO()
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", format=format) as archive:
            archive.add(source, arcname=".")
        with tarfile.open(fileobj=io.BytesIO(buffer.getvalue())) as archive:
            assert any(member.islnk() for member in archive)
        target = tmp_path / f"in-{format}"
        assert unpacked(buffer.getvalue(), target) == {*CODE, "z" * 120 + ".py"}
        assert (target / ("z" * 120 + ".py")).read_text() == CODE["defense.py"]


def test_second_names_count_their_bytes_every_time() -> None:
    files = [("big.bin", bytes(1 << 20)), *[(f"copy{number}", "") for number in range(3)]]
    header = gzip.decompress(tar_of([*CODE.items(), files[0]]))[:-1024]
    for name, _ in files[1:]:
        link = bytearray(gzip.decompress(tar_of([(name, "")], kind_of_first=b"1"))[:512])
        link[157:164] = b"big.bin"
        link[148:156] = b" " * 8
        link[148:156] = b"%06o\0 " % sum(link)
        header += bytes(link)
    data = gzip.compress(header + bytes(1024))
    limits = type(LIMITS)(archive_bytes=1 << 20, unpacked_bytes=3 << 20)
    assert "unpacks to 4 MiB" in refused(data, limits=limits)


def test_a_link_is_refused_in_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("x")
    folder = tmp_path / "in"
    folder.mkdir()
    for name, text in CODE.items():
        (folder / name).write_text(text)
    (folder / "weights").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match=r"weights: is a symbolic link\. Put the file itself in its place\.") as caught:
        inspect_folder(folder, limits=LIMITS)
    assert "\n" not in str(caught.value)
    assert "weights: is a symbolic link" in refused(tar_of([*CODE.items(), ("weights", "")], kind=b"2"))


def test_a_folder_passes_the_inspection_of_its_archive(tmp_path: Path) -> None:
    for name, text in {**CODE, ".git/HEAD": "x", "._x": "x"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert set(inspect_folder(tmp_path, limits=LIMITS).files) == set(CODE)
    (tmp_path / "weights.pt").write_bytes(b"\x80\x02" + bytes(50))
    with pytest.raises(InputError, match="pickle"):
        inspect_folder(tmp_path, limits=LIMITS)
