"""Hosts that are started ahead: sandboxed, everything imported, and no submission in sight until one is to be loaded.

Each prepared host is used for one submission and dies with it. What it will see as its submission is a folder of its own, bound
read-only and still empty. The files are put there when they are known. See docs/decisions/0006-warm-starts.md.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from sandbox import Job, Mount, Running, Sandbox, SandboxError
from sandbox.scratch import OwnedFolder

logger = logging.getLogger(__name__)
IDLE_SECONDS = 600.0  # a prepared host that nobody wanted for so long ends


@dataclass(frozen=True)
class _Order:
    """What can be prepared without knowing the submission."""

    backend: str
    job: Job
    target: PurePosixPath


@dataclass(frozen=True)
class _Prepared:
    """A host that waits for its one submission. folder: what it sees as that, empty so far; it lies in `root`."""

    running: Running
    root: OwnedFolder
    folder: Path

    def usable(self) -> bool:
        try:
            return self.running.wait(timeout=0) is None
        except SandboxError:
            return False

    def end(self) -> None:
        try:
            self.running.kill()
        except SandboxError as error:
            logger.warning("a prepared host could not be ended: %s", error)
        finally:
            self.root.remove(ignore_errors=True)


class HostPool:
    """At most `size` prepared hosts, the kinds asked for last. Thread-safe; `size` 0 prepares none."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._ready: list[tuple[_Order, Future[_Prepared]]] = []
        self._lock = threading.Lock()
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="warm-hosts")

    @contextmanager
    def host(self, sandbox: Sandbox, job: Job, submission: Path, target: PurePosixPath) -> Iterator[Running]:
        """A running host that sees the files of `submission` at `target`, and that nobody used before or will use again.

        The next one is prepared once this one has gone, or as soon as its user says `prepare`. Raises SandboxError.
        """
        if self._size == 0:
            with sandbox.start(replace(job, mounts=(*job.mounts, Mount(submission, target)))) as running:
                yield running
            return
        order = _Order(sandbox.name, job, target)
        prepared = self._take(order) or _prepare(sandbox, order)
        try:
            prepared.running.shorten(job.limits.seconds)
            shutil.copytree(submission, prepared.folder, copy_function=_link, dirs_exist_ok=True)
            yield prepared.running
        finally:
            prepared.end()
            self.prepare(sandbox, job, target)

    def prepare(self, sandbox: Sandbox, job: Job, target: PurePosixPath) -> None:
        """Starts a host of this kind ahead, unless one waits already. To be said once the host at hand has loaded.

        Not before: starting a sandbox and importing keep two processors busy, which the loading would wait for.
        """
        order = _Order(sandbox.name, job, target)
        with self._lock:
            if self._size == 0 or any(waiting == order for waiting, _ in self._ready):
                return
            self._ready.append((order, self._starter.submit(_prepare, sandbox, order)))
            surplus, self._ready = self._ready[: -self._size], self._ready[-self._size :]
        for _, future in surplus:
            _discard(future)

    def close(self) -> None:
        """Ends every host that waits; the pool prepares no others."""
        with self._lock:
            self._size, waiting, self._ready = 0, self._ready, []
        self._starter.shutdown(wait=True, cancel_futures=True)
        for _, future in waiting:
            _discard(future)

    def _take(self, order: _Order) -> _Prepared | None:
        with self._lock:
            found = next((entry for entry in self._ready if entry[0] == order), None)
            if found is None:
                return None
            self._ready.remove(found)
        try:
            prepared = found[1].result()
        except SandboxError:
            return None  # the caller's own start says why
        if prepared.usable():
            return prepared
        prepared.end()
        return None


def _prepare(sandbox: Sandbox, order: _Order) -> _Prepared:
    root = OwnedFolder("redoubt-warm-")
    try:
        root.path.chmod(0o755)
        folder = root.path / "submission"
        folder.mkdir()
        folder.chmod(0o755)
        limits = replace(order.job.limits, seconds=order.job.limits.seconds + IDLE_SECONDS)
        mounts = (*order.job.mounts, Mount(folder, order.target))
        return _Prepared(sandbox.start(replace(order.job, limits=limits, mounts=mounts)), root, folder)
    except BaseException:
        root.remove(ignore_errors=True)
        raise


def _discard(future: Future[_Prepared]) -> None:
    """Ends a prepared host, now or as soon as it has started."""

    def end(done: Future[_Prepared]) -> None:
        if not done.cancelled() and done.exception() is None:
            done.result().end()

    future.cancel()
    future.add_done_callback(end)


def _link(source: str, target: str) -> None:
    """The staged copy is ours and read-only inside: a second name for it will do where the file system allows one."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


_pool = HostPool(0)


def pool() -> HostPool:
    """The pool of this process: empty and idle unless `keep_warm` was called."""
    return _pool


def keep_warm(hosts: int) -> None:
    """Keeps up to `hosts` prepared hosts from now on; 0 keeps none."""
    global _pool
    _pool.close()
    _pool = HostPool(hosts)


atexit.register(lambda: _pool.close())
