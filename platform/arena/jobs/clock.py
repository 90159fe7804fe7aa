"""Two clocks: this process's, for what people read, and the database's, for what several machines must agree on."""

from __future__ import annotations

from datetime import datetime

from django.db import connection
from django.utils import timezone


def now() -> datetime:
    """This process's clock: for what people read, never for what several machines must agree on."""
    return timezone.now()


def database_now() -> datetime:
    """The database's clock, for times that are compared with those of other machines."""
    if connection.vendor == "sqlite":  # the clock of this very machine, and of no other
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("select statement_timestamp()")
        found: datetime = cursor.fetchone()[0]
    return found
