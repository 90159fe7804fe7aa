"""Plays cells and looks at uploads: claims one, has it played, stores the outcome, and settles what it was the last of."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from django.db.models.functions import Now

from arena.evaluations import leases
from arena.evaluations.keeper import Keeper
from arena.evaluations.working import carry_out, unpack_submission
from arena.matrix import adversarial, claims, finishing
from arena.matrix.claims import CellLease, TrialLease
from arena.matrix.models import Cell, CellShard, Trial
from arena.matrix.playing import Game, Player, configured_player
from arena.running import cell_outcomes
from arena.running.listening import Listener
from evaluator.errors import Cancelled, SubmissionError
from evaluator.records.cell_report import CellCompleted, CellOutcome, DefenseFailed, Violation
from evaluator.records.report import PlatformFailed, SubmissionFailed
from sandbox.scratch import owned_folder


def look_once(
    *,
    owner: str,
    player: Player | None = None,
    stop: threading.Event | None = None,
    only: int | None = None,
    without: frozenset[int] = frozenset(),
) -> bool:
    """Looks at the oldest upload that waits (or at trial `only`); False when there is none. without: of no such challenge."""
    lease = claims.claim_trial(owner=owner, trial_id=only, without=without)
    if lease is None:
        return False
    player, stop = player or configured_player(), stop or threading.Event()
    carry_out(
        lease,
        work=lambda keeper: _look(lease, player, keeper, stop),
        finish=lambda found, log: isinstance(found, dict) and leases.finish(lease, found, log=log),
        settle=lambda: finishing.settle_trial(lease.task_id),
    )
    return True


def play_once(
    *,
    owner: str,
    player: Player | None = None,
    stop: threading.Event | None = None,
    challenge_id: int | None = None,
    without: frozenset[int] = frozenset(),
) -> bool:
    """Plays the shard that is first in line (of one challenge, and of none of `without`); False when none waits."""
    return _carry_out(claims.claim_cell(owner=owner, challenge_id=challenge_id, without=without), player, stop)


def greet_once(
    *,
    owner: str,
    player: Player | None = None,
    stop: threading.Event | None = None,
    only: int | None = None,
    without: frozenset[int] = frozenset(),
) -> bool:
    """Replays what comes before the search of the evaluation that is first in line (or of evaluation `only`)."""
    return _carry_out(claims.claim_greeting(owner=owner, evaluation_id=only, without=without), player, stop)


def _carry_out(lease: CellLease | None, player: Player | None, stop: threading.Event | None) -> bool:
    """Plays the shard of this lease; False without one."""
    if lease is None:
        return False
    player, stop = player or configured_player(), stop or threading.Event()
    begun = time.monotonic()

    def finish(outcome: CellOutcome, log: str) -> bool:
        inputs = outcome.adversarial if isinstance(outcome, CellCompleted) else None
        spent = {"seconds": time.monotonic() - begun, "finished": Now()}
        return leases.finish(lease, cell_outcomes.dump(outcome), log=log, inputs=inputs, **spent)

    carry_out(
        lease,
        work=lambda keeper: _play(lease, player, keeper, stop),
        finish=finish,
        settle=lambda: finishing.settle_cell(lease.cell_id),
    )
    return True


def _listener(keeper: Keeper, stop: threading.Event) -> Listener:
    return Listener(keeper.on_progress, keeper.on_log, lambda: stop.is_set() or keeper.lost)


def _play(lease: CellLease, player: Player, keeper: Keeper, stop: threading.Event) -> CellOutcome:
    shard = CellShard.objects.get(pk=lease.task_id)
    cell = Cell.objects.select_related("attack", "defense", "evaluation", "source").get(pk=lease.cell_id)
    listener, pack = _listener(keeper, stop), cell.evaluation.judged_pack
    with owned_folder("redoubt-play-") as temporary:
        attack, defense = _folders(temporary)
        try:
            unpack_submission(cell.defense, defense)
        except SubmissionError as error:
            return DefenseFailed(error.reason, str(error))
        if cell.kind != Cell.Kind.PLAY:
            if cell.source is None:
                raise Cancelled("the cell was settled meanwhile.")
            return player.replay(pack, defense, adversarial.read(cell.source), cell.seed, listener)
        try:
            unpack_submission(cell.attack, attack)
        except SubmissionError as error:
            return SubmissionFailed(error.reason, str(error))
        return player.play(Game(pack, attack, defense, cell.seed, (shard.start, shard.stop)), listener)


def _look(lease: TrialLease, player: Player, keeper: Keeper, stop: threading.Event) -> dict[str, Any] | PlatformFailed:
    """The outcome as JSON, with the violations of a whole array; a failure of the platform as itself."""
    trial = Trial.objects.select_related("submission", "target").get(pk=lease.task_id)
    pack = trial.target.evaluations.get(current=True).judged_pack
    violations: list[Violation] = []
    with owned_folder("redoubt-look-") as temporary:
        attack, defense = _folders(temporary)
        game = Game(pack, attack, defense, trial.seed)
        try:
            unpack_submission(trial.submission, attack)
            if trial.submission.manifest["format"] == "array":
                violations = player.check_array(game)
        except SubmissionError as error:
            return cell_outcomes.dump(SubmissionFailed(error.reason, str(error)))
        unpack_submission(trial.target, defense)
        outcome = player.look(game, _listener(keeper, stop))
    if isinstance(outcome, PlatformFailed):
        return outcome
    return cell_outcomes.dump(outcome) | {"violations": [violation.model_dump(mode="json") for violation in violations]}


def _folders(root: Path) -> tuple[Path, Path]:
    """Empty folders for the attack and the defense."""
    attack, defense = root / "attack", root / "defense"
    attack.mkdir()
    defense.mkdir()
    return attack, defense
