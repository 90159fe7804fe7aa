"""The relay between the scorer and a model's process: one question in, one answer out, and a request for another life.

It copies no bulk: frames go from pipe to pipe inside the kernel (splice(2)). The model never holds an end of the scorer's own
stream, so it can neither read ahead nor answer for its successor.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select

from evaluator.host.wire import LENGTH, decode

SMALL = 4096  # bytes: a request for another life is never longer
_LOG_BYTES = 1 << 16
_LAST_WORDS = 1 << 20  # of the log, once the model has ended
_PIPE_BYTES = 1 << 20
NO_SEED = (1 << 64) - 1


class _Over(Exception):
    """The model's process has ended, or the scorer has gone."""


class Relay:
    """reader, writer: the scorer's stream. asks, answer, log: our ends of the model's pipes, -1 before there is a model.

    over: is closed at the other end once the model's process has ended.
    """

    def __init__(self, reader: int, writer: int, asks: int, answer: int, log: int, over: int) -> None:
        self._reader, self._writer = reader, writer
        self._asks, self._answer, self._log, self._over = asks, answer, log, over
        for pipe in (asks, answer):
            if pipe >= 0:
                _enlarge(pipe)

    def run(self) -> int | None:
        """Until the scorer asks for another life: its seed, NO_SEED where it names none. None when either side has ended."""
        try:
            if self._answer >= 0:
                self._reply()
            while True:
                size = LENGTH.unpack(self._exactly(self._reader, LENGTH.size))[0]
                if size <= SMALL:
                    payload = self._exactly(self._reader, size)
                    message = decode(payload)
                    if message.op == "load":
                        return int(message.fields.get("seed", NO_SEED))
                    self._write(LENGTH.pack(size) + payload)
                else:
                    self._write(LENGTH.pack(size))
                    self._move(self._reader, self._asks, size)
                self._reply()
        except (_Over, BrokenPipeError, ConnectionError):
            self._last_words()
            return None

    def _reply(self) -> None:
        """One frame of the model, as long as it says."""
        header = self._exactly(self._answer, LENGTH.size)
        os.write(self._writer, header)
        self._move(self._answer, self._writer, LENGTH.unpack(header)[0])

    def _exactly(self, source: int, size: int) -> bytes:
        data = b""
        while len(data) < size:
            self._until(source, select.POLLIN)
            part = os.read(source, size - len(data))
            if not part:
                raise _Over
            data += part
        return data

    def _write(self, data: bytes) -> None:
        """To the model. At most SMALL and a header: it fits into an empty pipe, which it is between two questions."""
        if self._asks < 0:
            raise _Over
        self._until(self._asks, select.POLLOUT)
        os.write(self._asks, data)

    def _move(self, source: int, sink: int, count: int) -> None:
        while count:
            self._until(source, select.POLLIN)
            self._until(sink, select.POLLOUT)
            moved = os.splice(source, sink, min(count, _PIPE_BYTES))
            if not moved:
                raise _Over
            count -= moved

    def _until(self, wanted: int, event: int) -> None:
        """Waits for a descriptor, and hands on what the model logs meanwhile. Raises _Over when the model has ended."""
        while True:
            poll = select.poll()
            poll.register(wanted, event)
            poll.register(self._over, 0)
            if self._log >= 0:
                poll.register(self._log, select.POLLIN)
            ready = dict(poll.poll())
            if self._log in ready:
                self._hand_on_log()
            if wanted in ready:
                return
            if self._over in ready:
                raise _Over

    def _hand_on_log(self) -> int:
        moved = os.splice(self._log, 2, _LOG_BYTES)
        if not moved:
            self._log = -1
        return moved

    def _last_words(self) -> None:
        """What a model that has ended still had in its log."""
        left = _LAST_WORDS
        while left > 0 and self._log >= 0 and select.select([self._log], [], [], 0)[0]:
            left -= self._hand_on_log()


def _enlarge(pipe: int) -> None:
    with contextlib.suppress(OSError):  # the user's share of pipe memory may be spent
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
