"""Keeps the head of a job's stderr and reads the rest away, so that neither memory nor the job's writes are ever stuck."""

from __future__ import annotations

import os
import select
import threading

_CHUNK = 1 << 16
_SETTLE_SECONDS = 1.0


class BoundedLog:
    """Owns a pipe's read end and drains it in a thread until its end or close()."""

    def __init__(self, fd: int, *, keep: int) -> None:
        """keep: how many bytes from the beginning are kept."""
        self._fd, self._keep = fd, keep
        self._head = bytearray()
        self._dropped = 0
        self._lock = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        os.set_blocking(fd, False)
        self._thread = threading.Thread(target=self._drain, args=(self._wake,), name="sandbox-log", daemon=True)
        self._thread.start()

    def snapshot(self) -> tuple[bytes, int]:
        """The kept head so far, and how many further bytes were dropped."""
        with self._lock:
            return bytes(self._head), self._dropped

    def settle(self) -> None:
        """Waits until everything written was read: at once when no writer is left, and never longer than a second."""
        self._thread.join(_SETTLE_SECONDS)

    def close(self) -> None:
        """Stops reading, after a chance to settle; idempotent. What was kept stays."""
        self.settle()
        with self._lock:
            if self._wake < 0:
                return
            wake, self._wake = self._wake, -1
            os.eventfd_write(wake, 1)
        self._thread.join()
        os.close(wake)
        os.close(self._fd)

    def _drain(self, wake: int) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(wake, select.POLLIN)
        buffer = memoryview(bytearray(_CHUNK))
        while True:
            ready = dict(poll.poll())
            if wake in ready:
                return
            try:
                count = os.readv(self._fd, [buffer])
            except BlockingIOError:
                continue
            if count == 0:
                return
            with self._lock:
                room = self._keep - len(self._head)
                self._head += buffer[: min(count, room)]
                self._dropped += max(0, count - room)
