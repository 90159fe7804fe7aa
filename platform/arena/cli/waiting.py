"""What a person sees while something runs: a bar in a terminal, a line every half minute anywhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

EVERY = 30.0


class Waiting(Protocol):
    """Told how far it is."""

    def __call__(self, text: str, done: int = 0, total: int | None = None) -> None: ...


@contextmanager
def shown(text: str, *, console: Console | None = None, every: float = EVERY) -> Iterator[Waiting]:
    """Shows `text`, and what `report` passes later, on stderr until it is left."""
    console = console or Console(stderr=True)
    if console.is_terminal:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(escape(text), total=None)

            def report(text: str, done: int = 0, total: int | None = None) -> None:
                bar.update(task, description=escape(text), completed=done, total=total)

            yield report
    else:
        with _lines(text, console, every) as report_lines:
            yield report_lines


@contextmanager
def _lines(text: str, console: Console, every: float) -> Iterator[Waiting]:
    latest, over, begun = [text], threading.Event(), time.monotonic()

    def report(text: str, done: int = 0, total: int | None = None) -> None:
        latest[0] = text if total is None else f"{text} · {done} of {total}"

    def speak() -> None:
        while not over.wait(every):
            say(console, f"{latest[0]} · {time.monotonic() - begun:.0f} s")

    say(console, text)
    speaker = threading.Thread(target=speak, name="says how far it is", daemon=True)
    speaker.start()
    try:
        yield report
    finally:
        over.set()
        speaker.join()


def say(console: Console, text: str) -> None:
    """One line, as it is."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


class Following:
    """Prints a line whenever it is a new one, and the same one again after half a minute."""

    def __init__(self, write: Callable[[str], None], *, every: float = EVERY) -> None:
        self._write, self._every, self._said, self._at = write, every, "", 0.0

    def report(self, line: str) -> None:
        now = time.monotonic()
        if line != self._said or now - self._at >= self._every:
            self._write(line)
            self._said, self._at = line, now
