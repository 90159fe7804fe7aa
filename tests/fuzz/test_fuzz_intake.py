"""No upload does more than be refused in words: no crash, no hang, no memory and no files beyond what the limits allow."""

from __future__ import annotations

import io
import random
import struct
import tempfile
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.submissions.intake import ArchiveLimits, Inspection, inspect, unpack
from evaluator.errors import InputError, SubmissionError
from evaluator.judging.array_claims import read_array
from evaluator.manifests.spec import AttackManifest, DefenseManifest, parse_toml
from tests.fuzz.archives import archive, damaged, manifest, npy, npz, weights
from tests.web.backend_support import MANIFEST, zipped

SEEDS = st.integers(0, 2**32 - 1)
LIMITS = ArchiveLimits(archive_bytes=1 << 20, unpacked_bytes=1 << 20, members=50, ratio_from=1 << 18, directory_bytes=1 << 16)
SLOWEST = 5.0
# Whatever was sent: one piece of 1 MiB at a time, a safetensors header as Python objects, a table of contents.
ROOM = 24 << 20


def inspected(data: bytes) -> str:
    try:
        found = inspect(io.BytesIO(data), limits=LIMITS)
    except InputError as error:
        told = error
    else:
        return _unpacked(data, found)
    assert told.help or told.where, "the uploader is told where or what to do"
    assert str(told).replace("\n    ", "").isprintable(), "what is shown holds no control characters"
    return "refused"


def _unpacked(data: bytes, found: Inspection) -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "in"
        folder.mkdir()
        unpack(io.BytesIO(data), folder, limits=LIMITS)
        assert sorted(path.name for path in Path(name).iterdir()) == ["in"], "nothing is written outside"
        files = [path for path in folder.rglob("*") if not path.is_dir()]
        assert all(path.is_file() and not path.is_symlink() for path in files)
        assert sum(path.stat().st_size for path in files) <= LIMITS.unpacked_bytes
        assert {str(path.relative_to(folder)) for path in files} >= set(found.files)
    return "accepted"


def parsed(data: bytes, kind: type[DefenseManifest] | type[AttackManifest]) -> str:
    try:
        parse_toml(data, kind, where="defense.toml")
    except InputError:
        return "refused"
    return "accepted"


@settings(max_examples=500)
@given(seed=SEEDS)
def test_damaged_archives_are_refused_in_words_or_are_harmless(seed: int) -> None:
    inspected(archive(random.Random(seed)))


@settings(max_examples=100)
@given(head=st.sampled_from((b"", b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08")), noise=st.binary(max_size=2000))
def test_noise_is_refused(head: bytes, noise: bytes) -> None:
    assert inspected(head + noise) == "refused"


@settings(max_examples=200)
@given(seed=SEEDS)
def test_an_upload_of_any_form_holds_bounded_memory(seed: int) -> None:
    data = archive(random.Random(seed))
    tracemalloc.start()
    try:
        inspected(data)
        assert tracemalloc.get_traced_memory()[1] < ROOM
    finally:
        tracemalloc.stop()


@settings(max_examples=300)
@given(seed=SEEDS, kind=st.sampled_from((DefenseManifest, AttackManifest)))
def test_manifests_are_refused_in_words(seed: int, kind: type[DefenseManifest] | type[AttackManifest]) -> None:
    parsed(manifest(random.Random(seed)), kind)


@settings(max_examples=200)
@given(seed=SEEDS)
def test_weights_of_any_form_are_refused_in_words(seed: int) -> None:
    inspected(zipped({"defense.toml": MANIFEST, "weights.safetensors": weights(random.Random(seed))}))


@settings(max_examples=200)
@given(header=st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=4), st.lists, max_leaves=8))
def test_a_safetensors_header_of_any_json_is_refused_in_words(header: object) -> None:
    import json

    text = json.dumps({"weight": header}).encode()
    inspected(zipped({"defense.toml": MANIFEST, "weights.safetensors": struct.pack("<Q", len(text)) + text}))


@settings(max_examples=300)
@given(seed=SEEDS)
def test_arrays_are_read_whole_or_refused(seed: int) -> None:
    rng = random.Random(seed)
    content = rng.choice((npy(), npz(x_adv=npy()), npy("|O", (1,)), npy("<f8"), npz(a=npy(), b=npy())))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "adversarial.npz"
        path.write_bytes(damaged(rng, content))
        try:
            read = read_array(path, (2, 3))
        except SubmissionError:
            return
    assert (tuple(read.shape), read.numpy().dtype) == ((2, 3), np.dtype("<f4"))


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_archives_are_taken_without_a_crash_or_a_hang() -> None:
    rng, endings, slowest = random.Random(0), Counter[str](), 0.0
    for number in range(100_000):
        data = archive(rng) if number % 4 else manifest(rng)
        begun = time.perf_counter()
        endings[inspected(data) if number % 4 else parsed(data, DefenseManifest)] += 1
        slowest = max(slowest, time.perf_counter() - begun)
    print(f"slowest {slowest:.2f} s, {endings}")
    assert slowest < SLOWEST
    assert set(endings) == {"refused", "accepted"}
