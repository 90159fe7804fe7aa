"""Askers as threads that take turns: one runs at a time, until it asks; when all have asked, everybody is answered.

So which rows meet in a pass depends on what is asked and in which order, never on the machine's load.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class _Left(BaseException):
    """Unwinds an asker that nobody will answer any more, because another one failed."""


class _Asker(threading.Thread):
    """Runs `act` whenever it has its turn."""

    def __init__(self, act: Callable[[], None], number: int) -> None:
        super().__init__(name=f"asker {number}", daemon=True)
        self._act = act
        self.turn, self.done, self.over, self.left = threading.Semaphore(0), threading.Semaphore(0), False, False
        self.patient = False
        self.error: BaseException | None = None
        self.errand: Callable[[], None] | None = None

    def run(self) -> None:
        self.turn.acquire()
        try:
            if not self.left:
                self._act()
        except _Left:
            pass
        except BaseException as error:
            self.error = error
        finally:
            self.over = True
            self.done.release()

    def wait(self) -> None:
        """Called by the asker itself: hands its turn back until the next one. Raises _Left."""
        self.done.release()
        self.turn.acquire()
        if self.left:
            raise _Left

    def send(self, errand: Callable[[], None]) -> None:
        """Called by the asker itself: has something done by who answers, between two of its own steps. Raises as that does."""
        self.errand = errand
        self.wait()
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def go_on(self) -> None:
        """Called by who answers: gives the asker a turn, and comes back when it waits or is over."""
        self.turn.release()
        self.done.acquire()
        while self.errand is not None:
            errand, self.errand = self.errand, None
            try:
                errand()
            except BaseException as error:
                self.error = error
            self.turn.release()
            self.done.acquire()


def wait_for_answer(serve: Callable[[], None], answered: Callable[[], bool]) -> None:
    """Called by somebody who has asked. An asker among others waits until all have; who asks alone is served at once."""
    asker = threading.current_thread()
    if isinstance(asker, _Asker):
        asker.wait()
        while not answered():
            asker.wait()
    while not answered():
        serve()


@contextmanager
def patiently() -> Iterator[None]:
    """Inside, questions of an asker among others may wait until a pass of somebody else has room for their rows."""
    asker = threading.current_thread()
    if not isinstance(asker, _Asker):
        yield
        return
    asker.patient = True
    try:
        yield
    finally:
        asker.patient = False


def is_patient() -> bool:
    """Whether who asks now has said so."""
    asker = threading.current_thread()
    return isinstance(asker, _Asker) and asker.patient


def by_the_caller(errand: Callable[[], None]) -> None:
    """Has `errand` run by the thread that began it all: what it calls (a database, a terminal) belongs to that thread."""
    asker = threading.current_thread()
    if isinstance(asker, _Asker):
        asker.send(errand)
    else:
        errand()


def together(acts: Sequence[Callable[[], None]], serve: Callable[[], None]) -> None:
    """Runs `acts` side by side. serve: answers all that was asked.

    Raises what the first of them raised, once the others have been unwound.
    """
    askers = [_Asker(act, number) for number, act in enumerate(acts)]
    for asker in askers:
        asker.start()
    try:
        while any(not asker.over for asker in askers):
            for asker in askers:
                if not asker.over:
                    asker.go_on()
                    if asker.error is not None:
                        raise asker.error
            if any(not asker.over for asker in askers):
                serve()
    finally:
        for asker in askers:
            asker.left = True
            while not asker.over:
                asker.go_on()
            asker.join()
