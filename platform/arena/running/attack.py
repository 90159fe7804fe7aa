"""Plays one submitted attack against one defense: the attack in its zone, the defense in its lane, the scorer between them.

Two folders are staged; what the attack returns is claims (`cell`), checked and verified piece by piece; the pieces' reports
become one (`merge`). Web code never imports this.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path

from arena.running.arrays import read_points
from arena.running.bench import Bench, bench
from arena.running.cell import CellRun, Played, Source, Stored, Submitted
from arena.running.lanes import LOAD_SECONDS, once_more
from arena.running.listening import SILENT, Listener, in_pieces
from arena.running.merging import merge
from arena.running.outcomes import platform_failed
from arena.running.requests import AttackRequest
from arena.running.staging import Staged, staged
from arena.running.zone import AttackZone, blaming_the_attack
from evaluator.data import Examples
from evaluator.errors import Cancelled, SubmissionError
from evaluator.host.attack_serve import read_attack_manifest
from evaluator.host.attack_session import AttackFault
from evaluator.manifests.spec import Pack
from evaluator.records.adversarial_archive import AdversarialArchive
from evaluator.records.cell_report import CellCompleted, CellOutcome, DefenseFailed
from evaluator.records.report import SubmissionFailed
from evaluator.threats import build
from sandbox import Sandbox

__all__ = ["AttackRequest", "merge", "replay_inputs", "run_attack", "smoke"]

_SMOKE_EXAMPLES = 5
_SMOKE_SECONDS = 40  # of the attack itself; the rest of the minute is for starting two sandboxes


def run_attack(request: AttackRequest, *, sandbox: Sandbox, listener: Listener = SILENT) -> CellOutcome:
    """Plays the attack (on one shard of the examples) and returns a typed outcome; raises only Cancelled.

    The listener is given the attack's own output; the defense's is its team's.
    """
    return _typed(lambda: _run(request, sandbox, listener), request.attack.name)


def smoke(request: AttackRequest, *, sandbox: Sandbox, listener: Listener = SILENT) -> CellOutcome:
    """The same on the first five examples and within a minute: tells at once whether an uploaded attack works at all.

    A SubmissionFailed("timeout") says that it is slow, not that it is broken.
    """
    challenge = request.pack.challenge
    limits = challenge.limits.model_copy(update={"seconds": min(challenge.limits.seconds, _SMOKE_SECONDS)})
    pack = request.pack.model_copy(update={"challenge": challenge.model_copy(update={"limits": limits})})
    few = replace(request, pack=pack, shard=None, examples=min(_SMOKE_EXAMPLES, request.examples or _SMOKE_EXAMPLES))
    return run_attack(few, sandbox=sandbox, listener=listener)


def replay_inputs(
    pack: Pack,
    defense: Path,
    stored: bytes,
    *,
    sandbox: Sandbox,
    seed: int,
    name: str = "replay",
    listener: Listener = SILENT,
) -> CellOutcome:
    """Replays adversarial inputs stored for other defenses (a `CellCompleted.adversarial`) on this one.

    One forward row for every ranked example and one for each stored input. The report covers all ranked examples; its
    archive holds the inputs that break this defense too. name: shown as the report's `attack`. The listener is given the
    defense's own output. Raises only Cancelled.
    """

    def play() -> CellOutcome:
        source = Stored(AdversarialArchive.from_bytes(stored), build(pack.challenge.threat))
        with _bench(pack, defense, sandbox, listener, seed) as ready:
            return _pieces(CellRun(ready, name, "", source, seed, listener), ready.examples, rows=0)

    return _typed(play, name)


def _run(request: AttackRequest, sandbox: Sandbox, listener: Listener) -> CellOutcome:
    with ExitStack() as stack:
        with blaming_the_attack():
            attack = stack.enter_context(staged(request.attack))
            manifest = read_attack_manifest(attack.folder)
        silent = replace(listener, on_log=SILENT.on_log)  # the defense's output is its team's
        ready = stack.enter_context(_bench(request.pack, request.defense, sandbox, silent, request.seed, request.examples))
        start, stop = request.shard or (0, len(ready.examples))
        part, rows = ready.examples[start:stop], request.budget_rows
        source = _source(attack, ready, listener)
        cell = CellRun(ready, manifest.name, attack.digest, source, request.seed, listener)
        return _pieces(cell, part, rows=request.pack.challenge.access.rows_per_example * len(part) if rows is None else rows)


def _bench(
    pack: Pack, defense: Path, sandbox: Sandbox, listener: Listener, seed: int, examples: int | None = None
) -> AbstractContextManager[Bench]:
    """The defense, whose host lives as long as the attack does: the attack's clock is its own."""
    seconds = int(2 * pack.challenge.limits.seconds + 2 * LOAD_SECONDS)
    return bench(pack, defense, sandbox=sandbox, listener=listener, examples=examples, seed=seed, seconds=seconds)


def _source(attack: Staged, ready: Bench, listener: Listener) -> Source:
    """Where the claims of this submission come from. Raises AttackFault for an array that cannot be read."""
    if read_attack_manifest(attack.folder).format == "python":
        limits = ready.pack.challenge.limits
        zone = AttackZone(attack.folder, limits, ready.lane.sandbox, ready.lane.threads, listener)
        return Played(zone, ready.pack, ready.goal)
    with blaming_the_attack():
        points = read_points(ready.pack, attack.folder, ready.examples, ready.threat)
        return Submitted(points, ready.goal, ready.threat)


def _pieces(cell: CellRun, part: Examples, *, rows: int) -> CellOutcome:
    """Plays the cell in pieces, each with its share of the rows."""
    total = len(part)

    def piece(first: int, last: int, heard: Listener) -> CellCompleted:
        return replace(cell, listener=heard).play(part[first:last], budget=rows * last // total - rows * first // total)

    return merge(in_pieces(total, cell.bench.pack.challenge.evaluation.shard_examples, cell.listener, piece))


def _typed(play: Callable[[], CellOutcome], name: str) -> CellOutcome:
    """Every way of ending as an outcome; only Cancelled is raised."""
    try:
        return once_more(play)
    except Cancelled:
        raise
    except AttackFault as fault:
        return SubmissionFailed(fault.error.reason, str(fault.error))
    except SubmissionError as error:
        return DefenseFailed(error.reason, str(error))
    except Exception as error:
        return platform_failed(error, f"playing {name}")
