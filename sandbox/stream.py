"""The duplex stream over two pipes, with deadlines.

Pipes and not a socket: nothing but bytes can come through (no descriptors), and the same code serves bubblewrap's inherited
pipes and Docker's named ones.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import threading
import time
from collections.abc import Iterator

from sandbox.base import Stream, StreamClosed, StreamTimeout

_PIPE_BYTES = 1 << 20  # the most an ordinary user may ask for (/proc/sys/fs/pipe-max-size)


def enlarge(pipe: int) -> None:
    """Gives a pipe a large buffer, where the user's share of pipe memory still allows it."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


class PipeStream(Stream):
    """Owns both descriptors. One thread may send while another receives; each direction serves one caller at a time.

    After a StreamTimeout part of the data may have moved, so that the position within a frame is unknown.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd, self._write_fd = read_fd, write_fd
        self._reading, self._writing, self._closing = threading.Lock(), threading.Lock(), threading.Lock()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._closed = False
        for fd in (read_fd, write_fd):
            os.set_blocking(fd, False)
            enlarge(fd)

    def send(self, data: bytes | bytearray | memoryview, *, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with memoryview(data) as whole, whole.cast("B") as view, self._turn(self._writing, deadline):
            sent = 0
            while sent < len(view):
                try:
                    sent += os.write(self._write_fd, view[sent:])
                except BlockingIOError:
                    self._until(self._write_fd, select.POLLOUT, deadline, f"{sent} of {len(view)} bytes were taken")
                except BrokenPipeError:
                    raise StreamClosed(f"The job no longer reads its input ({sent} of {len(view)} bytes were taken).") from None

    def receive(self, size: int, *, timeout: float) -> bytearray:
        deadline = time.monotonic() + timeout
        data = bytearray(size)
        with memoryview(data) as view, self._turn(self._reading, deadline):
            received = 0
            while received < size:
                try:
                    count = os.readv(self._read_fd, [view[received:]])
                except BlockingIOError:
                    self._until(self._read_fd, select.POLLIN, deadline, f"{received} of {size} bytes came")
                    continue
                if count == 0:
                    raise StreamClosed(f"The job closed its output ({received} of {size} bytes came).")
                received += count
        return data

    def close(self) -> None:
        with self._closing:
            if self._closed:
                return
            self._closed = True
            os.eventfd_write(self._wake, 1)
            # A thread that is moving bytes notices within one poll; only then may the numbers be given back to the system.
            with self._reading, self._writing:
                for fd in (self._read_fd, self._write_fd, self._wake):
                    os.close(fd)

    @contextlib.contextmanager
    def _turn(self, direction: threading.Lock, deadline: float) -> Iterator[None]:
        if not direction.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise StreamTimeout("Another thread kept this direction of the stream busy.")
        try:
            if self._closed:
                raise StreamClosed("The stream was closed on this side.")
            yield
        finally:
            direction.release()

    def _until(self, fd: int, event: int, deadline: float, progress: str) -> None:
        """Waits for `event`. An error or hang-up also ends the wait: the next read or write tells which it is."""
        poll = select.poll()
        poll.register(fd, event)
        poll.register(self._wake, select.POLLIN)
        ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if self._closed:
            raise StreamClosed("The stream was closed on this side.")
        if not ready:
            raise StreamTimeout(f"The time was up when {progress}.")
