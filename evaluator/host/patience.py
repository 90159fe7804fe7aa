"""Waiting for an attack that computes: until its deadline, while the evaluation can still be cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable

from evaluator.host.wire import Transport

FRAME_SECONDS = 30.0
_POLL_SECONDS = 0.2


class Patient:
    """The transport, waiting for a message until the deadline while `tick` is polled.

    Only the wait for a first byte is cut into polls, as no byte can be lost there. A frame once begun has to come swiftly.
    Nothing, neither an answer that is not read nor half a frame, holds it up beyond the deadline.
    """

    def __init__(self, transport: Transport, deadline: float, tick: Callable[[], None]) -> None:
        self._transport, self._deadline, self._tick = transport, deadline, tick

    def send(self, data: bytes | bytearray | memoryview, *, timeout: float) -> None:
        self._transport.send(data, timeout=self._at_most(timeout))

    def receive(self, size: int, *, timeout: float) -> bytes | bytearray:
        first = self._first()
        rest = self._transport.receive(size - 1, timeout=self._at_most(FRAME_SECONDS)) if size > 1 else b""
        return first + rest

    def _at_most(self, seconds: float) -> float:
        return max(0.0, min(seconds, self._deadline - time.monotonic()))

    def _first(self) -> bytearray:
        while True:
            self._tick()
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            try:
                return bytearray(self._transport.receive(1, timeout=min(_POLL_SECONDS, left)))
            except TimeoutError:
                continue
