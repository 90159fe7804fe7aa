"""Plays one attack against one defense: the attack in its sandbox, the defense in its lane, the scorer between them.

Knows no Django, so that `redoubt attack` and the site's worker run the very same code. Web code never imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluator.cell_report import CellOutcome
from evaluator.report import Progress
from evaluator.spec import Pack
from sandbox import Sandbox


@dataclass(frozen=True)
class AttackRequest:
    """What to play.

    attack: an unpacked folder with attack.toml; defense: one with defense.toml. seed: keys the attack's and the scorer's
    randomness. shard: (start, stop) positions among the pack's ranked examples, None for all. examples: only the first so
    many. budget_rows: the most the attack may ask (forward + 2 * backward rows) over all the examples of this request, None
    for the challenge's own rows per example.
    """

    pack: Pack
    attack: Path
    defense: Path
    seed: int
    shard: tuple[int, int] | None = None
    examples: int | None = None
    budget_rows: int | None = None


def run_attack(
    request: AttackRequest,
    *,
    sandbox: Sandbox,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_log: Callable[[bytes], None] = lambda text: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> CellOutcome:
    """Plays the attack (on one shard of the examples) and returns a typed outcome; raises only Cancelled.

    on_progress: called several times a second. on_log: the attack's own output (bounded, untrusted bytes).
    cancelled: polled at every model call and while the attack computes.
    """
    raise NotImplementedError


def smoke(
    request: AttackRequest,
    *,
    sandbox: Sandbox,
    on_log: Callable[[bytes], None] = lambda text: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> CellOutcome:
    """The same on the first five examples and within a minute: tells at once whether an uploaded attack works at all."""
    raise NotImplementedError


def replay_inputs(
    pack: Pack,
    defense: Path,
    stored: bytes,
    *,
    sandbox: Sandbox,
    seed: int,
    name: str = "replay",
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_log: Callable[[bytes], None] = lambda text: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> CellOutcome:
    """Replays adversarial inputs stored for other defenses (a `CellCompleted.adversarial`) on this one.

    One forward row for every ranked example and one for each stored input. The report covers all ranked examples; its
    archive holds the inputs that break this defense too. name: shown as the report's `attack`. Raises only Cancelled.
    """
    raise NotImplementedError


def join_cells(shards: Sequence[CellOutcome]) -> CellOutcome:
    """The whole cell from its shards, in data order; a shard that failed fails the whole."""
    raise NotImplementedError
