"""`manage.py sweeper`: the production installation's sweep, in the foreground. It needs no broker and waits behind no work."""

from __future__ import annotations

import threading
from typing import Any

from django.core.management.base import BaseCommand

from arena.evaluations.judging import configured_judge
from arena.evaluations.management.stopping import stopped_by_signals
from arena.evaluations.sweeping import sweep_forever


class Command(BaseCommand):
    help = "Returns the work of dead workers, finishes what they left and wakes idle ones, until it is stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        sweep_forever(stopped_by_signals(threading.Event()), merge=configured_judge().merge)
