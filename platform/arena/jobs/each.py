"""One thing that cannot be done holds up no other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

from django.db import DatabaseError

logger = logging.getLogger(__name__)
Thing = TypeVar("Thing")


def each(things: Iterable[Thing], do: Callable[[Thing], object]) -> None:
    """Does it for each, and logs those where it failed. Raises DatabaseError: then nothing can be done for any of them."""
    for thing in things:
        try:
            do(thing)
        except DatabaseError:
            raise
        except Exception:
            logger.exception("%s failed for %r; it is tried again", getattr(do, "__name__", "a step of the sweep"), thing)
