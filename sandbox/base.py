"""The sandbox protocol that every backend implements and the one conformance suite tests."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType


class SandboxError(Exception):
    """The sandbox itself could not do its work (missing binary, no user namespaces, engine down): never the job's fault."""


class SandboxUnavailable(SandboxError):
    """What runs the jobs does not answer at the moment, for instance an engine that restarts: worth waiting for."""


class StreamClosed(EOFError):
    """The other end of the stream is gone."""


class StreamTimeout(TimeoutError):
    """The deadline passed before all bytes were moved."""


class Enforcement(enum.StrEnum):
    """How well one promise is kept on this machine."""

    FULL = "full"
    PARTIAL = "partial"  # per process only, for instance memory by rlimit
    NONE = "none"


@dataclass(frozen=True)
class Capabilities:
    """What this backend really enforces here, found by trying it once, not by hoping.

    promises: "filesystem", "network", "pids" (isolation of the process tree), "memory", "processes", "cpus",
    "landlock" (a third layer, which takes nothing from the others where it is missing) -> how well.
    notes: a sentence for each promise that is not FULL.
    """

    backend: str
    available: bool
    promises: Mapping[str, Enforcement]
    notes: tuple[str, ...] = ()

    def missing(self, required: tuple[str, ...]) -> tuple[str, ...]:
        """Those of `required` that are not fully enforced."""
        return tuple(name for name in required if self.promises.get(name, Enforcement.NONE) is not Enforcement.FULL)


@dataclass(frozen=True)
class Limits:
    """Ceilings for one job. Sizes in MiB unless the name says otherwise; seconds are wall clock for the whole job."""

    memory_mb: int = 2048
    processes: int = 64
    cpus: float = 2.0
    seconds: float = 1800.0
    tmp_mb: int = 64
    shm_mb: int = 64
    file_mb: int = 64
    open_files: int = 256
    log_kb: int = 64


@dataclass(frozen=True)
class Mount:
    """`source` on the host appears read-only at `target` inside."""

    source: Path
    target: PurePosixPath


@dataclass(frozen=True)
class Job:
    """One command to run.

    argv: absolute program path inside the sandbox and its arguments. mounts: read-only inputs (beside the base system's
    /usr). env: the whole environment; nothing is inherited. required: promises that must be FULL or start() refuses.
    hidden: folders below the inputs (or in the backend's image) that appear empty instead.
    """

    argv: tuple[str, ...]
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()
    required: tuple[str, ...] = ("network", "filesystem")
    hidden: tuple[PurePosixPath, ...] = ()


@dataclass(frozen=True)
class Exit:
    """How a job ended. cause: "exited" | "killed" (by us) | "memory" | "deadline" | "signal"; code: exit status, or None."""

    cause: str
    code: int | None
    signal: int | None = None


class Stream(ABC):
    """The job's stdin and stdout as one duplex byte stream."""

    @abstractmethod
    def send(self, data: bytes | bytearray | memoryview, *, timeout: float) -> None:
        """Sends all of `data`. Raises StreamTimeout or StreamClosed."""

    @abstractmethod
    def receive(self, size: int, *, timeout: float) -> bytearray:
        """Returns exactly `size` bytes. Raises StreamTimeout or StreamClosed (also at end of file before `size` bytes)."""

    @abstractmethod
    def close(self) -> None:
        """Closes both directions; idempotent."""


class Running(ABC):
    """A started job. Use as a context manager: leaving it kills whatever is left, waits, and removes every trace.

    confined: whether Landlock holds as well.
    """

    stream: Stream
    confined: bool

    @abstractmethod
    def wait(self, *, timeout: float) -> Exit | None:
        """How it ended, or None when it still runs after `timeout` seconds."""

    @abstractmethod
    def kill(self) -> Exit:
        """Kills the whole process tree and waits; idempotent, and keeps the first cause."""

    @abstractmethod
    def shorten(self, seconds: float) -> None:
        """Ends the job with the cause "deadline" so many seconds from now, unless its own deadline comes first."""

    @abstractmethod
    def log(self) -> tuple[bytes, int]:
        """What the job wrote to stderr: the first `limits.log_kb` KiB, and how many further bytes were dropped."""

    def __enter__(self) -> Running:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()


class Sandbox(ABC):
    """A way of running jobs. Instances are cheap, hold no job state and may be used from several threads."""

    name: str

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """Measured once per process and cached. Never raises: an unusable backend says `available=False` and why."""

    @abstractmethod
    def start(self, job: Job) -> Running:
        """Starts the job. Raises SandboxError when it cannot, or when a required promise is not fully enforced here."""

    def ready(self) -> bool:
        """Whether what runs the jobs answers right now; while it does not there is no use in starting any."""
        return True
