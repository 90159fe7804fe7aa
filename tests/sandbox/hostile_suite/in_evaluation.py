"""Has a hostile entry judged by the real runner on a few images: it fails with a reason, is unverified, or gains nothing.

A folder holds `defense.py`, behind which stand the weights of the standard baseline, or `attack.py`, which plays that
baseline. An entry gains when it is verified and stands better than the honest one with the same weights; an attack gains
when an example counts as broken though no claim can be right.

The search is cut short: how much a search finds is proven where attacks are tested. Checks, verification, hosts and sandbox
are those of every evaluation.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from arena.running.attack import AttackRequest, run_attack
from arena.running.defense import Request, run_defense
from evaluator.adaptive.automatic import Automatic
from evaluator.attacks.apgd import APGD
from evaluator.attacks.square import Square
from evaluator.checks import honest as checks
from evaluator.ensembles.sequence import Sequence, Stage
from evaluator.manifests.spec import Pack
from evaluator.records.cell_report import CellCompleted, CellOutcome
from evaluator.records.report import Completed, Outcome, Report, SubmissionFailed
from sandbox import open_sandbox
from tests.running.packs import BASELINE, python_submission, small_pack
from tests.sandbox.hostile_suite import cases
from tests.sandbox.hostile_suite.cases import Case, built, judged
from tests.sandbox.hostile_suite.traces import Traces

EXAMPLES = 12
EPSILON = 0.2  # where the honest network falls altogether: whatever stands, stands by hostility
_SEED = 20261121
_REPLY_SECONDS, _MEMORY_MB = 30, 1024
_ATTACK_ROWS = 200
_SHORT = Sequence("short", (Stage("APGD-20, margin", APGD(steps=20, loss="margin")), Stage("Square", Square(queries=100))))
_MORE_MEMORY = 512 << 20  # what the scorer's own attacks may have left with the allocator
_UNVERIFIED, _NO_GAIN, _GAINED, _PLATFORM = "unverified", "no gain", "gained", "platform failed"


@contextlib.contextmanager
def shortened() -> Iterator[None]:
    """Few steps for what the short search leaves standing."""
    with mock.patch.object(checks, "Automatic", functools.partial(Automatic, steps=5, queries=20)):
        yield


def run(case: Case) -> cases.Outcome:
    """Raises nothing for whatever the entry does."""
    sandbox = open_sandbox("auto")
    with tempfile.TemporaryDirectory() as name, shortened():
        folder = Path(name)
        honest()
        pack = small_pack(
            folder,
            examples=EXAMPLES,
            shard=EXAMPLES,
            epsilon=EPSILON,
            reply_seconds=int(case.limits.get("reply_seconds", _REPLY_SECONDS)),
            memory_mb=_MEMORY_MB,
        )
        before, begun = Traces.now(sandbox), time.monotonic()
        end, said = (_attacked if (case.folder / "attack.py").exists() else _defended)(case, pack, folder / "entry")
        seconds = time.monotonic() - begun
        losses = before.left(sandbox, str(folder), memory=_MORE_MEMORY)
    return judged(case, seconds, end, said, losses)


@functools.cache
def honest() -> Report:
    """The verdict on the honest entry: whoever stands better with the same weights has gained something."""
    with tempfile.TemporaryDirectory() as name, shortened():
        return evaluated(python_submission(Path(name) / "honest"), Path(name))


def evaluated(entry: Path, folder: Path) -> Report:
    """The report of an entry that completes. folder: where its pack may be made."""
    pack = small_pack(folder, examples=EXAMPLES, shard=EXAMPLES, epsilon=EPSILON)
    outcome = run_defense(Request(pack=pack, submission=entry, seed=_SEED, ensemble=_SHORT), sandbox=open_sandbox("auto"))
    assert isinstance(outcome, Completed), outcome
    return outcome.report


def _defended(case: Case, pack: Pack, entry: Path) -> tuple[str, str]:
    """How the defense's evaluation ended, and what was said."""
    python_submission(entry, (case.folder / "defense.py").read_text())
    shutil.copy(case.folder.parent / "honest.py", entry)
    if (case.folder / "build.py").exists():
        built(case)(entry)
    outcome: Outcome = run_defense(
        Request(pack=pack, submission=entry, seed=_SEED, ensemble=_SHORT), sandbox=open_sandbox("auto")
    )
    if isinstance(outcome, SubmissionFailed):
        return outcome.reason, outcome.detail
    if not isinstance(outcome, Completed):
        return _PLATFORM, outcome.detail
    report = outcome.report
    flags = "; ".join(f"{flag.check}: {flag.evidence}" for flag in report.flags if flag.severity == "unverified")
    said = f"{report.robust_accuracy:.0%} robust, honest {honest().robust_accuracy:.0%}. {flags}"
    if not report.verified:
        return _UNVERIFIED, said
    return (_GAINED if report.robust_accuracy > honest().robust_accuracy else _NO_GAIN), said


def _attacked(case: Case, pack: Pack, entry: Path) -> tuple[str, str]:
    """How the attack's game ended, and what was said."""
    entry.mkdir()
    (entry / "attack.toml").write_text('name = "Hostile"\nformat = "python"\nentry = "attack.py"\n')
    shutil.copy(case.folder / "attack.py", entry)
    request = AttackRequest(pack=pack, attack=entry, defense=BASELINE, seed=_SEED, budget_rows=_ATTACK_ROWS)
    outcome: CellOutcome = run_attack(request, sandbox=open_sandbox("auto"))
    if isinstance(outcome, SubmissionFailed):
        return outcome.reason, outcome.detail
    if not isinstance(outcome, CellCompleted):
        return _PLATFORM, outcome.detail
    report = outcome.report
    gained = report.robust_bits != report.correct_bits or report.forward_rows + 2 * report.backward_rows > _ATTACK_ROWS
    counted = "; ".join(f"{violation.kind}: {violation.count}" for violation in report.violations)
    return (_GAINED if gained else _NO_GAIN), f"{sum(report.robust_bits)} stand. {counted}"
