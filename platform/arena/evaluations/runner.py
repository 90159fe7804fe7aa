"""The one place where evaluator and sandbox meet: runs the official evaluation of one submission.

Knows no Django, so that `redoubt evaluate` and the site's worker run the very same code. Web code never imports it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evaluator.report import Outcome, Progress
from evaluator.spec import Pack
from sandbox import Sandbox


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    submission: an unpacked folder with its manifest. shard: (start, stop) positions among the pack's ranked examples,
    None for all. seed: keys all of the evaluation's randomness; the same seed gives the same verdicts bit for bit.
    """

    pack: Pack
    submission: Path
    seed: int
    shard: tuple[int, int] | None = None
    examples: int | None = None


def run_defense(
    request: Request,
    *,
    sandbox: Sandbox,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_log: Callable[[bytes], None] = lambda text: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Runs the evaluation of a defense (or one shard of it) and returns a typed outcome; raises only Cancelled.

    on_progress: called several times a second with the current Progress. on_log: the submission's own output so far
    (bounded, untrusted bytes). cancelled: polled at every model call.
    """
    raise NotImplementedError


def merge(shards: list[Outcome]) -> Outcome:
    """The whole evaluation's outcome from those of its shards, in shard order, equal bit for bit to an unsharded run."""
    raise NotImplementedError
