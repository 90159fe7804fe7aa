"""What this machine's workers run entries with. Only workers load what needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from django.conf import settings
from django.utils.module_loading import import_string

from arena.challenges.images import bring
from arena.jobs.sandboxes import configured_sandbox
from arena.running.listening import SILENT, Listener
from arena.running.requests import AttackRequest, Request
from evaluator.manifests.spec import Pack
from evaluator.records.cell_report import CellOutcome, Violation
from evaluator.records.report import Outcome


class Runner:
    """`arena.running`, with the sandbox that this machine offers and hosts that are started ahead.

    What runs returns a typed outcome, or raises Cancelled soon after `cancelled()`.
    """

    def __init__(self) -> None:
        from arena.running.warm import keep_warm

        keep_warm(settings.REDOUBT_WARM_HOSTS)

    def evaluate(self, request: Request, listener: Listener, /) -> Outcome:
        """The official evaluation of a shard, with what broke the defense."""
        from arena.running.defense import run_defense

        bring(request.pack.challenge.data)
        asked = replace(request, keep=True, device=settings.REDOUBT_DEVICE)
        return run_defense(asked, sandbox=configured_sandbox(), listener=listener)

    def play(self, request: AttackRequest, listener: Listener, /) -> CellOutcome:
        """An attack on the shard's examples."""
        from arena.running.attack import run_attack

        bring(request.pack.challenge.data)
        return run_attack(request, sandbox=configured_sandbox(), listener=listener)

    def look(self, request: AttackRequest, listener: Listener, /) -> CellOutcome:
        """An attack on five examples, within a minute."""
        from arena.running.attack import smoke

        bring(request.pack.challenge.data)
        return smoke(request, sandbox=configured_sandbox(), listener=listener)

    def replay(self, pack: Pack, defense: Path, inputs: bytes, seed: int, listener: Listener, /) -> CellOutcome:
        """Stored inputs on all ranked examples."""
        from arena.running.attack import replay_inputs

        bring(pack.challenge.data)
        heard = replace(listener, on_log=SILENT.on_log)  # the defense's output is its team's
        return replay_inputs(pack, defense, inputs, sandbox=configured_sandbox(), seed=seed, listener=heard)

    def check_array(self, pack: Pack, attack: Path, /) -> list[Violation]:
        """Every example whose claim in an array cannot count. Raises SubmissionError for one that cannot be read."""
        from arena.running.arrays import check_array

        bring(pack.challenge.data)
        return check_array(pack, attack)

    def same_results(self, pack: Pack, one: bytes, others: Sequence[bytes], /) -> list[list[int]]:
        """For each of `others` the examples at which it holds the same adversarial input as `one`, or nearly the same."""
        from arena.running.likeness import same_results

        return same_results(pack, one, others)


@cache
def configured() -> Runner:
    """The runner that settings.REDOUBT_RUNNER names."""
    made: Runner = import_string(settings.REDOUBT_RUNNER)()
    return made
