"""Who plays cells: the attack runner in a sandbox. Loaded only by workers, since it needs torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from arena.jobs.sandboxes import configured_sandbox
from arena.running.listening import SILENT, Listener
from evaluator.manifests.spec import Pack
from evaluator.records.cell_report import CellOutcome, Violation


@dataclass(frozen=True)
class Game:
    """One attack against one defense. attack, defense: unpacked folders; shard: (start, stop) of the ranked examples."""

    pack: Pack
    attack: Path
    defense: Path
    seed: int
    shard: tuple[int, int] | None = None


class Player(Protocol):
    """Plays cells. Every method returns a typed outcome, or raises Cancelled soon after `cancelled()`."""

    def play(self, game: Game, listener: Listener, /) -> CellOutcome:
        """The attack on the shard's examples."""

    def look(self, game: Game, listener: Listener, /) -> CellOutcome:
        """The attack on five examples, within a minute."""

    def replay(self, pack: Pack, defense: Path, inputs: bytes, seed: int, listener: Listener, /) -> CellOutcome:
        """Stored inputs on all ranked examples."""

    def check_array(self, game: Game, /) -> list[Violation]:
        """Every example whose claim in an array cannot count. Raises SubmissionError for one that cannot be read."""


class OfficialPlayer:
    """The evaluator's attack runner, with the sandbox that this machine offers."""

    def play(self, game: Game, listener: Listener, /) -> CellOutcome:
        from arena.running.attack import AttackRequest, run_attack

        request = AttackRequest(game.pack, game.attack, game.defense, game.seed, shard=game.shard)
        return run_attack(
            request,
            sandbox=configured_sandbox(),
            listener=listener,
        )

    def look(self, game: Game, listener: Listener, /) -> CellOutcome:
        from arena.running.attack import AttackRequest, smoke

        request = AttackRequest(game.pack, game.attack, game.defense, game.seed)
        return smoke(request, sandbox=configured_sandbox(), listener=listener)

    def replay(self, pack: Pack, defense: Path, inputs: bytes, seed: int, listener: Listener, /) -> CellOutcome:
        from arena.running.attack import replay_inputs

        return replay_inputs(
            pack,
            defense,
            inputs,
            sandbox=configured_sandbox(),
            seed=seed,
            listener=replace(listener, on_log=SILENT.on_log),  # the defense's output is its team's
        )

    def check_array(self, game: Game, /) -> list[Violation]:
        from arena.running.arrays import check_array

        return check_array(game.pack, game.attack)


@cache
def configured_player() -> Player:
    """The player that settings.REDOUBT_PLAYER names."""
    player: Player = import_string(settings.REDOUBT_PLAYER)()
    return player
