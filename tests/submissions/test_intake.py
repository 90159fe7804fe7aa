"""What the intake accepts, and what it refuses before anything is unpacked."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from arena.submissions.intake import ArchiveLimits, Inspection, inspect, unpack
from tests.web.backend_support import MANIFEST, good_files, safetensors, zipped
from tests.web.intake_support import LIMITS, encrypted_zip, refused, tar_of, tarred, with_entry_count, zip_of

PYTHON = 'name = "Code"\nformat = "python"\nentry = "defense.py"\n'
CODE = {"defense.toml": PYTHON, "defense.py": "def load(directory): ...\n"}


def accepted(data: bytes) -> Inspection:
    return inspect(io.BytesIO(data), limits=LIMITS)


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_plain_archive_is_accepted(pack) -> None:  # type: ignore[no-untyped-def]
    data = pack(good_files())
    found = accepted(data)
    assert (found.kind, found.name, found.size) == ("defense", "Small CNN", len(data))
    assert found.files == ("defense.toml", "weights.safetensors")
    assert found.digest == hashlib.sha256(data).hexdigest()


def test_a_declared_detector_is_kept_with_the_entry_and_a_wrong_declaration_is_refused() -> None:
    assert accepted(zipped({**CODE, "defense.toml": f"{PYTHON}detector = true\n"})).manifest["detector"] is True
    assert "detector: must be true or false" in refused(zipped({**CODE, "defense.toml": f'{PYTHON}detector = "yes"\n'}))
    assert "randomized = true" in refused(zipped({**CODE, "defense.toml": f"{PYTHON}detector = true\nrandomized = true\n"}))


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_one_folder_around_everything_is_accepted(pack) -> None:  # type: ignore[no-untyped-def]
    found = accepted(pack({f"my defense/{name}": data for name, data in good_files().items()}))
    assert found.files == ("defense.toml", "weights.safetensors")


def test_a_tar_of_the_current_folder_is_accepted() -> None:
    assert accepted(tarred({f"./{name}": data for name, data in good_files().items()})).name == "Small CNN"


@pytest.mark.parametrize("format", ["ustar", "gnu", "pax"])
def test_every_format_of_tar_with_a_long_name_is_accepted(format: str) -> None:
    long = "folder/" * 8 + "x" * 90 + ".txt"
    assert long in accepted(tarred({**CODE, long: "text"}, format=format)).files


def test_what_a_mac_adds_is_left_out() -> None:
    litter = {"__MACOSX/._defense.toml": "x", ".DS_Store": "x"}
    assert accepted(zipped({**{f"d/{k}": v for k, v in good_files().items()}, **litter})).files == (
        "defense.toml",
        "weights.safetensors",
    )


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_unpacking_writes_regular_files_that_anyone_can_read(pack, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    before = os.umask(0o077)
    try:
        unpack(io.BytesIO(pack({**CODE, "lib/deep/net.py": "x = 1\n"})), tmp_path, limits=LIMITS)
    finally:
        os.umask(before)
    found = {str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert found == {"defense.toml": 0o644, "defense.py": 0o644, "lib": 0o755, "lib/deep": 0o755, "lib/deep/net.py": 0o644}
    assert (tmp_path / "lib/deep/net.py").read_text() == "x = 1\n"


def test_the_folder_around_everything_is_not_unpacked(tmp_path: Path) -> None:
    unpack(io.BytesIO(zipped({f"d/{name}": data for name, data in CODE.items()})), tmp_path, limits=LIMITS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["defense.py", "defense.toml"]


def test_something_else_than_an_archive_is_refused() -> None:
    assert "neither a .zip nor a .tar.gz" in refused(b"hello")
    assert "is empty" in refused(b"")
    for packed_with, magic in {"7z": b"7z\xbc\xaf\x27\x1c", "rar": b"Rar!\x1a\x07", "zstd": b"\x28\xb5\x2f\xfd"}.items():
        assert f"packed with {packed_with}" in refused(magic + bytes(600))


def test_an_archive_cut_short_is_refused() -> None:
    for data in (zipped(good_files()), tarred(good_files())):
        for size in range(4, len(data) - 1, 7):
            refused(data[:size])


def test_an_archive_over_the_size_cap_is_refused() -> None:
    limits = ArchiveLimits(archive_bytes=100)
    assert "at most" in refused(zipped(good_files()), limits=limits)


# Names


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py",
        "a/../../evil.py",
        "/etc/cron.d/evil",
        "C:/evil.py",
        "c:evil.py",
        "..\\evil.py",
        "a//b.py",
        "./../evil.py",
        "tab\there.py",
        "right-to-left\u202eyp.exe",
        "x" * 300,
        "/".join("d" * 20) + "/f.py",
    ],
)
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_name_that_leads_elsewhere_or_fools_a_reader_is_refused(pack, name: str) -> None:  # type: ignore[no-untyped-def]
    refused(pack({**CODE, name: "x"}))


def test_an_absolute_name_is_called_that() -> None:
    assert "absolute" in refused(zipped({**CODE, "/etc/passwd": "x"}))


@pytest.mark.parametrize(("first", "second"), [("a.py", "a.py"), ("a.py", "A.PY"), ("é.py", "e\u0301.py"), ("a", "a/b.py")])
@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_two_names_for_one_file_are_refused(make, first: str, second: str) -> None:  # type: ignore[no-untyped-def]
    refused(make([*CODE.items(), (first, "1"), (second, "2")]))


def test_a_name_in_a_tar_that_is_not_utf_8_is_refused() -> None:
    assert "UTF-8" in refused(tar_of([*CODE.items(), (b"a\xff\xfe.py", "x")]))


# Kinds of entries


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_a_zip_with_something_that_is_not_a_file_is_refused(kind: int) -> None:
    assert "not a file" in refused(zip_of([*CODE.items(), ("link", "/etc/passwd")], mode=kind | 0o777))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (b"1", "hard link to a file that is not before it"),
        (b"2", "symbolic link"),
        (b"3", "device"),
        (b"4", "device"),
        (b"6", "pipe"),
        (b"S", "sparse"),
        (b"Z", "neither"),
    ],
)
def test_a_tar_with_something_that_is_not_a_file_is_refused(kind: bytes, words: str) -> None:
    assert words in refused(tar_of([*CODE.items(), ("evil", "")], kind=kind))


def test_sparse_files_in_extended_headers_are_refused_with_the_option_that_makes_them() -> None:
    said = refused(tar_of([(b"pax", b"22 GNU.sparse.major=1\n"), *CODE.items()], kind_of_first=b"x"))
    assert "sparse" in said
    assert "--sparse" in said


def test_an_oversized_extended_header_is_refused_without_reading_it() -> None:
    assert "oversized" in refused(tar_of([("pax", b"x" * 70_000), *CODE.items()], kind_of_first=b"x"))


def test_a_damaged_tar_header_is_refused() -> None:
    assert "damaged" in refused(tar_of([*CODE.items()], damage=True))


def test_an_encrypted_zip_is_refused() -> None:
    assert "encrypted" in refused(encrypted_zip(CODE))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_with_an_unusual_compression_is_refused(method: int) -> None:
    assert "compression" in refused(zip_of([*CODE.items()], method=method))


# Bombs


def test_a_flat_zip_bomb_is_refused_by_its_ratio() -> None:
    limits = ArchiveLimits(archive_bytes=1 << 20, ratio=100, ratio_from=1 << 20)
    assert "times its size" in refused(zipped({**CODE, "zeros.bin": bytes(4 << 20)}), limits=limits)


def test_a_flat_tar_bomb_is_refused_while_it_is_inflated() -> None:
    limits = ArchiveLimits(archive_bytes=1 << 20, ratio=100, ratio_from=1 << 20)
    assert "unpacks to more" in refused(tarred({**CODE, "zeros.bin": bytes(8 << 20)}), limits=limits)


def test_more_than_the_unpacked_size_is_refused() -> None:
    limits = ArchiveLimits(archive_bytes=1 << 30, unpacked_bytes=1 << 20)
    for pack in (zipped, tarred):
        refused(pack({**CODE, "noise.bin": os.urandom(3 << 20)}), limits=limits)


def test_a_zip_that_lies_about_an_unpacked_size_is_refused() -> None:
    data = bytearray(zipped({**CODE, "zeros.bin": bytes(1 << 20)}))
    for magic, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        place = data.rfind(magic)
        data[place + offset : place + offset + 4] = struct.pack("<I", 10)
    refused(bytes(data))


def test_entries_that_share_their_bytes_are_refused() -> None:
    data = bytearray(zipped({**CODE, "one.bin": os.urandom(2000), "two.bin": os.urandom(2000)}))
    first = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1) + 1)
    second = data.index(b"PK\x01\x02", first + 1)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    assert "shares its bytes" in refused(bytes(data))


def test_a_zip_of_very_many_entries_is_refused_by_its_end_record_alone() -> None:
    assert "entries" in refused(with_entry_count(zipped(CODE), 60_000))


def test_an_oversized_table_of_contents_is_refused_before_it_is_read() -> None:
    buffer = io.BytesIO(zipped(CODE))
    with zipfile.ZipFile(buffer, "a") as archive:
        for number in range(100):
            info = zipfile.ZipInfo(f"f{number}")
            info.comment = b"x" * 60_000
            archive.writestr(info, "")
    assert "table of contents" in refused(buffer.getvalue())


def test_too_many_entries_are_refused() -> None:
    many = {f"f{number}": "x" for number in range(LIMITS.members)}
    for pack in (zipped, tarred):
        assert "entries" in refused(pack({**CODE, **many}))


@pytest.mark.parametrize(
    "inner",
    [zipped({"a": "b"}), tarred({"a": "b"}), b"BZh91AY&SY" + bytes(50), b"\xfd7zXZ\0" + bytes(50)],
    ids=["zip", "gzip", "bzip2", "xz"],
)
def test_an_archive_inside_the_archive_is_refused(inner: bytes) -> None:
    assert "inside the archive" in refused(zipped({**CODE, "inner.bin": inner}))


def test_bytes_before_after_or_between_the_zips_parts_are_refused() -> None:
    data = zipped(CODE)
    refused(b"#!/bin/sh\n" + data)
    refused(data + b"more")
    refused(data + data)


# Manifests


def test_an_archive_without_a_manifest_says_what_it_found() -> None:
    assert "no defense.toml at its top, only readme.txt" in refused(zipped({"readme.txt": "x"}))
    assert "no defense.toml" in refused(zipped({"a/defense.toml": PYTHON, "b/defense.py": "x"}))


def test_two_manifests_are_refused() -> None:
    assert "one at a time" in refused(zipped({**CODE, "attack.toml": 'name = "x"\nformat = "python"\nentry = "a.py"\n'}))


def test_a_wrong_manifest_names_the_field() -> None:
    message = refused(
        zipped({"defense.toml": MANIFEST.replace("weights =", "weigths ="), "weights.safetensors": safetensors()})
    )
    assert "defense.toml" in message
    assert "weights" in message


def test_a_file_that_the_manifest_names_must_be_there() -> None:
    assert 'names "weights.safetensors"' in refused(zipped({"defense.toml": MANIFEST}))


def test_a_manifest_of_a_hundred_megabytes_is_refused_unread() -> None:
    assert "64 KiB" in refused(zipped({"defense.toml": PYTHON + "#" * (1 << 20), "defense.py": ""}))
