"""`manage.py sweeper`: the production installation's sweep, in the foreground. It needs no broker and waits behind no work."""

from __future__ import annotations

import threading
from typing import Any

from django.core.management.base import BaseCommand

from arena.jobs.management.stopping import stopped_by_signals
from arena.jobs.sweeping import sweep_forever


class Command(BaseCommand):
    help = "Returns the work of dead workers, finishes what they left and wakes idle ones, until it is stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        sweep_forever(stopped_by_signals(threading.Event()))
