"""`manage.py worker`: an evaluation worker in the foreground."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand

from arena.evaluations.worker import look_forever, work_forever


class Command(BaseCommand):
    help = "Works on evaluations until SIGTERM, Ctrl-C or a closed terminal, then gives back what it holds."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()

        def ask_to_stop(number: int, frame: FrameType | None) -> None:
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, ask_to_stop)
        looking = threading.Thread(target=look_forever, args=[stop], name="looking at uploads")
        looking.start()
        work_forever(stop)
        looking.join()
