"""How a command that runs until it is stopped hears that it should."""

from __future__ import annotations

import signal
import threading
from types import FrameType


def stopped_by_signals(stop: threading.Event) -> threading.Event:
    """The event, which SIGTERM, Ctrl-C and a closed terminal set from now on. From the main thread only."""

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, ask_to_stop)
    return stop
