"""What one attack of an ensemble has done so far."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from evaluator.models.meter import Meter


@dataclass
class Tally:
    """Counts of one attack; see `evaluator.records.report.AttackRecord`."""

    tried: int = 0
    broken: int = 0
    forward_rows: int = 0
    backward_rows: int = 0
    seconds: float = 0.0

    def add_rows(self, forward: int, backward: int, seconds: float) -> None:
        """Adds a share of a pass that served several attacks."""
        self.forward_rows += forward
        self.backward_rows += backward
        self.seconds += seconds

    @contextmanager
    def spending(self, meter: Meter) -> Iterator[Tally]:
        """Adds what the meter and the clock count inside the block."""
        begun, forward, backward = time.perf_counter(), meter.forward_rows, meter.backward_rows
        try:
            yield self
        finally:
            self.add_rows(meter.forward_rows - forward, meter.backward_rows - backward, time.perf_counter() - begun)
