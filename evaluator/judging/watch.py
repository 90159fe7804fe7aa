"""Progress and cancellation of whatever asks a model for long, polled before every pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from evaluator.ensembles.base import Step
from evaluator.errors import Cancelled
from evaluator.models.meter import Meter
from evaluator.models.turns import by_the_caller
from evaluator.records.report import Progress

_PROGRESS_SECONDS = 0.25


def _nothing(progress: Progress) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Observer:
    """For whom a model is judged. on_progress: called at every stage and a few times a second; cancelled: polled before every
    pass, whether to stop. Without arguments nobody listens and nothing stops it."""

    on_progress: Callable[[Progress], None] = _nothing
    cancelled: Callable[[], bool] = lambda: False


class Watch:
    """Reports how far it is, and asks whether to go on.

    total: examples; meter: whose rows are reported; observer: who hears it.
    """

    def __init__(self, total: int, meter: Meter, observer: Observer) -> None:
        self.meter = meter
        self._total, self._observer = total, observer
        self._begun, self._reported = time.perf_counter(), 0.0
        self._stage, self._attack, self._base, self._settled, self._survivors = "starting", "", 0, 0, total
        self.stage("starting")

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._begun

    def stage(self, name: str, *, attack: str = "", settled: int = 0, survivors: int | None = None) -> None:
        """A new part has begun. Raises Cancelled."""
        self._go_on()
        self._stage, self._attack, self._base = name, attack, settled
        self._settled = self._total if name == "verifying" else settled
        self._survivors = self._survivors if survivors is None else survivors
        self._report()

    def observe(self, step: Step) -> None:
        """The search has moved on."""
        self._attack, self._settled, self._survivors = step.attack, self._base + step.settled, step.survivors
        by_the_caller(self._report)

    def tick(self) -> None:
        """Called before every pass. Raises Cancelled."""
        by_the_caller(self._tick)

    def _tick(self) -> None:
        self._go_on()
        if self.seconds - self._reported > _PROGRESS_SECONDS:
            self._report()

    def _go_on(self) -> None:
        if self._observer.cancelled():
            raise Cancelled("the evaluation was cancelled.")

    def _report(self) -> None:
        self._reported = self.seconds
        attacked, left = self._settled - self._base, self._total - self._settled
        self._observer.on_progress(
            Progress(
                stage=self._stage,
                attack=self._attack,
                done=self._settled,
                total=self._total,
                survivors=self._survivors,
                forward_rows=self.meter.forward_rows,
                backward_rows=self.meter.backward_rows,
                seconds=self.seconds,
                seconds_left=self.seconds / attacked * left if attacked > 0 else None,
            )
        )
