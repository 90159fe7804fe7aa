"""Plays one attack against one defense: the attack in its sandbox, the defense in its lane, the scorer between them.

Knows no Django, so that `redoubt attack` and the site's worker run the very same code. Web code never imports it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from arena.running.cell import Cell, Played, Source, Stored, Submitted
from arena.running.cell_merging import join_cells
from arena.running.defense import Listener
from arena.running.lanes import LOAD_SECONDS, Lane, choose, once_more, settled_threads
from arena.running.outcomes import platform_failed
from arena.running.staging import Staged, staged
from arena.running.zone import AttackZone, blaming_the_attack
from evaluator.data import Examples
from evaluator.data import examples as ranked_examples
from evaluator.errors import Cancelled, SubmissionError
from evaluator.host.attack_serve import read_attack_manifest
from evaluator.host.attack_session import AttackFault
from evaluator.host.load import read_manifest
from evaluator.judging.array_claims import read_array
from evaluator.manifests.spec import LimitsSpec, Pack
from evaluator.records.adversarial_archive import AdversarialArchive
from evaluator.records.cell_report import CellOutcome, DefenseFailed
from evaluator.records.report import Progress, SubmissionFailed
from evaluator.threats import build
from sandbox import Sandbox

__all__ = ["AttackRequest", "join_cells", "replay_inputs", "run_attack", "smoke"]

_SMOKE_EXAMPLES = 5
_SMOKE_SECONDS = 40  # of the attack itself; the rest of the minute is for starting two sandboxes


@dataclass(frozen=True)
class AttackRequest:
    """What to play.

    attack: an unpacked folder with attack.toml; defense: one with defense.toml. seed: keys the attack's and the scorer's
    randomness. shard: (start, stop) positions among the pack's ranked examples, None for all. examples: only the first so
    many. budget_rows: the most the attack may ask (`evaluator.records.cost`) over all the examples of this request, None
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
    listener = Listener(on_progress, on_log, cancelled)
    return _typed(lambda: _run(request, sandbox, listener), request.attack.name)


def smoke(
    request: AttackRequest,
    *,
    sandbox: Sandbox,
    on_log: Callable[[bytes], None] = lambda text: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> CellOutcome:
    """The same on the first five examples and within a minute: tells at once whether an uploaded attack works at all.

    A SubmissionFailed("timeout") says that it is slow, not that it is broken.
    """
    challenge = request.pack.challenge
    limits = challenge.limits.model_copy(update={"seconds": min(challenge.limits.seconds, _SMOKE_SECONDS)})
    pack = request.pack.model_copy(update={"challenge": challenge.model_copy(update={"limits": limits})})
    few = replace(request, pack=pack, shard=None, examples=min(_SMOKE_EXAMPLES, request.examples or _SMOKE_EXAMPLES))
    return run_attack(few, sandbox=sandbox, on_log=on_log, cancelled=cancelled)


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
    archive holds the inputs that break this defense too. name: shown as the report's `attack`. on_log: the defense's own
    output. Raises only Cancelled.
    """

    def play() -> CellOutcome:
        archive = AdversarialArchive.from_bytes(stored)
        source = Stored(archive, build(pack.challenge.threat))
        with staged(defense) as copy:
            lane = _lane(pack, copy, sandbox, Listener(on_progress, on_log, cancelled))
            cell = Cell(pack, name, "", source, lane, copy.digest, seed, on_progress, cancelled)
            return _pieces(cell, ranked_examples(pack.challenge.data), rows=0)

    return _typed(play, name)


def _run(request: AttackRequest, sandbox: Sandbox, listener: Listener) -> CellOutcome:
    challenge = request.pack.challenge
    data = challenge.data
    if request.examples is not None:
        data = data.model_copy(update={"examples": min(request.examples, data.examples)})
    everything = ranked_examples(data)
    start, stop = request.shard or (0, len(everything))
    part = everything[start:stop]
    with ExitStack() as stack:
        with blaming_the_attack():
            attack = stack.enter_context(staged(request.attack))
            manifest = read_attack_manifest(attack.folder)
        defense = stack.enter_context(staged(request.defense))
        lane = _lane(request.pack, defense, sandbox, replace(listener, on_log=lambda text: None))  # its output is its team's
        source = _source(request, attack, lane, listener, everything)
        cell = Cell(
            request.pack,
            manifest.name,
            attack.digest,
            source,
            lane,
            defense.digest,
            request.seed,
            listener.on_progress,
            listener.cancelled,
        )
        rows = request.budget_rows
        return _pieces(cell, part, rows=challenge.access.rows_per_example * len(part) if rows is None else rows)


def _source(request: AttackRequest, attack: Staged, lane: Lane, listener: Listener, everything: Examples) -> Source:
    """Where the claims of this submission come from. Raises AttackFault for an array that cannot be read."""
    challenge = request.pack.challenge
    manifest = read_attack_manifest(attack.folder)
    if manifest.format == "python":
        zone = AttackZone(attack.folder, challenge.limits, lane.sandbox, lane.threads, listener.on_log)
        return Played(zone, request.pack)
    point = build(challenge.threat).start(everything.x[:1]).shape[1:]
    with blaming_the_attack():
        return Submitted(read_array(attack.folder / str(manifest.array), (challenge.data.examples, *point)))


def _lane(pack: Pack, defense: Staged, sandbox: Sandbox, listener: Listener) -> Lane:
    """The defense's lane. Its host lives as long as the attack does, whose clock is its own."""
    limits = pack.challenge.limits
    threads = settled_threads(limits)
    manifest = read_manifest(defense.folder)
    life: LimitsSpec = limits.model_copy(update={"seconds": int(2 * limits.seconds + 2 * LOAD_SECONDS)})
    lane = choose("auto", manifest)
    return Lane(lane, defense.folder, manifest, life, sandbox, threads, listener.on_log, cancelled=listener.cancelled)


def _pieces(cell: Cell, part: Examples, *, rows: int) -> CellOutcome:
    """Plays the cell in pieces of the challenge's size, so that a whole run equals its shards bit for bit."""
    size, total = cell.pack.challenge.evaluation.shard_examples, len(part)
    done = []
    for first in range(0, total, size):
        last = min(first + size, total)
        budget = rows * last // total - rows * first // total
        told = replace(cell, on_progress=_shifted(cell.on_progress, first, total))
        done.append(told.play(part[first:last], budget=budget))
    return join_cells(done)


def _shifted(on_progress: Callable[[Progress], None], before: int, total: int) -> Callable[[Progress], None]:
    """Progress of one piece as progress of the whole run."""
    return lambda piece: on_progress(replace(piece, done=before + piece.done, total=total, survivors=total))


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
