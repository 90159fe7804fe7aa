"""`manage.py worker`: an evaluation worker in the foreground."""

from __future__ import annotations

import threading
from typing import Any

from django.core.management.base import BaseCommand

from arena.jobs.management.stopping import stopped_by_signals
from arena.jobs.sweeping import sweep_forever
from arena.jobs.worker import look_forever, work_forever


class Command(BaseCommand):
    help = "Works on evaluations until SIGTERM, Ctrl-C or a closed terminal, then gives back what it holds."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = stopped_by_signals(threading.Event())
        beside = [
            threading.Thread(target=look_forever, args=[stop], name="looking at uploads"),
            threading.Thread(target=sweep_forever, args=[stop], name="sweeping"),
        ]
        for thread in beside:
            thread.start()
        work_forever(stop)
        for thread in beside:
            thread.join()
