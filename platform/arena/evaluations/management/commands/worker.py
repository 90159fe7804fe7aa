"""`manage.py worker`: an evaluation worker in the foreground."""

from __future__ import annotations

import threading
from typing import Any

from django.core.management.base import BaseCommand

from arena.evaluations.judging import configured_judge
from arena.evaluations.management.stopping import stopped_by_signals
from arena.evaluations.sweeping import sweep_forever
from arena.evaluations.worker import look_forever, work_forever


class Command(BaseCommand):
    help = "Works on evaluations until SIGTERM, Ctrl-C or a closed terminal, then gives back what it holds."

    def handle(self, *args: Any, **options: Any) -> None:
        stop, judge = stopped_by_signals(threading.Event()), configured_judge()
        beside = [
            threading.Thread(target=look_forever, args=[stop], name="looking at uploads"),
            threading.Thread(target=sweep_forever, args=[stop], kwargs={"merge": judge.merge}, name="sweeping"),
        ]
        for thread in beside:
            thread.start()
        work_forever(stop, judge=judge)
        for thread in beside:
            thread.join()
