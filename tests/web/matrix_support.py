"""What the matrix's tests share: standing defenses, accepted attacks, and a player that needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import numpy as np
from django.core.files.base import ContentFile
from django.db.models.functions import Now

from arena.accounts.models import User
from arena.challenges.models import Challenge
from arena.jobs import worker
from arena.jobs.judges import Line
from arena.jobs.models import Shard
from arena.jobs.runner import Runner
from arena.matrix.models import FirstLook
from arena.running.listening import Listener
from arena.running.requests import AttackRequest
from arena.submissions.models import Submission
from arena.submissions.services import submit
from evaluator.manifests.spec import AttackManifest, Pack, load_manifest
from evaluator.records.adversarial_archive import AdversarialArchive
from evaluator.records.cell_report import CellCompleted, CellDigests, CellOutcome, CellReport, Violation
from evaluator.records.report import Environment
from tests.web.backend_support import FakeJudge, enter, judged_by, team_of, work_once, zipped

CODE = "def attack(model, x, y, threat, budget):\n    return x\n"


def inputs_of(ids: list[int], name: str = "") -> AdversarialArchive:
    """One stored input for each of these examples, different from each other and from those of other names."""
    salts = [crc32(_finder(name, number).encode()) % 100 for number in ids]
    return AdversarialArchive(
        ids=np.array(ids, dtype=np.int64),
        form=np.zeros(len(ids), dtype=np.uint8),
        scale=np.full(len(ids), 0.1),
        steps=np.array([[n % 100, salt] for n, salt in zip(ids, salts, strict=True)], dtype=np.int8).reshape(len(ids), 2),
        halves=np.zeros((0, 2), dtype=np.float16),
        points=np.zeros((0, 2), dtype=np.float32),
    )


@dataclass
class FakePlayer(Runner):
    """Every attack breaks the examples that its name lists: "breaks 1 2 3"; every defense is right about all examples.

    No two names find the same inputs, unless one says whose it has: "breaks 1 2 3 (breaks 1 2)" found example 3 itself.

    It stands for the attack runner, which has its own tests (tests/running) and meets this machinery in
    tests/matrix/test_attack_end_to_end.py. plan: what happens on each call before the verdict; distance: of what it finds.
    """

    plan: list[CellOutcome | Exception | Callable[[], None] | None] = field(default_factory=list)
    played: list[tuple[str, str]] = field(default_factory=list)
    distance: float = 0.1

    def play(self, request: AttackRequest, listener: Listener, /) -> CellOutcome:
        manifest = load_manifest(request.attack / "attack.toml", AttackManifest)
        start, stop = request.shard or (0, request.pack.challenge.data.examples)
        return self._answer(
            request.pack, manifest.name, manifest.format, _named(manifest.name.partition(" (")[0]), range(start, stop)
        )

    def look(self, request: AttackRequest, listener: Listener, /) -> CellOutcome:
        manifest = load_manifest(request.attack / "attack.toml", AttackManifest)
        return self._answer(request.pack, manifest.name, manifest.format, _named(manifest.name.partition(" (")[0]), range(5))

    def replay(self, pack: Pack, defense: Path, inputs: bytes, seed: int, listener: Listener, /) -> CellOutcome:
        ids = set(AdversarialArchive.from_bytes(inputs).ids.tolist())
        return self._answer(pack, "replay", "replay", ids, range(pack.challenge.data.examples))

    def check_array(self, pack: Pack, attack: Path, /) -> list[Violation]:
        return []

    def same_results(self, pack: Pack, one: bytes, others: Sequence[bytes], /) -> list[list[int]]:
        mine = _rows(one)
        return [[number for number, row in _rows(other).items() if mine.get(number) == row] for other in others]

    def _answer(self, pack: Pack, name: str, kind: str, breaks: set[int], ids: range) -> CellOutcome:
        self.played.append((name, kind))
        step = self.plan[len(self.played) - 1] if len(self.played) <= len(self.plan) else None
        if isinstance(step, Exception):
            raise step
        if callable(step):
            step()
        elif step is not None:
            return step
        robust = [int(number not in breaks) for number in ids]
        report = CellReport(
            kind=kind,  # type: ignore[arg-type]
            challenge=pack.slug,
            attack=name,
            defense="fake",
            examples=len(ids),
            ids=list(ids),
            clean_accuracy=1.0,
            robust_accuracy=sum(robust) / len(ids),
            robust_interval=(0.0, 1.0),
            correct_bits=[1] * len(ids),
            robust_bits=robust,
            distances=[None if bit else self.distance for bit in robust],
            violations=[],
            forward_rows=10 * len(ids),
            backward_rows=5 * len(ids),
            budget_rows=None,
            check_rows=2 * len(ids),
            seconds=0.1,
            flags=[],
            verified=True,
            seed=0,
            digests=CellDigests(attack="a", defense="d", pack=pack.digest, data="x"),
            environment=Environment(
                evaluator="fake", torch="", python="", device="cpu", threads=1, lane="in-process", sandbox="none", enforced=[]
            ),
        )
        return CellCompleted(report, inputs_of([number for number in ids if number in breaks], name).to_bytes())


def look_once(player: Runner) -> bool:
    """Takes the first look that is first in line."""
    with judged_by(player=player):
        return worker.work_once(Line.FIRST)


def play_once(player: Runner | None = None) -> bool:
    """Plays the cell that is first in line."""
    with judged_by(player=player):
        return worker.work_once(Line.FAIR)


def _rows(archive: bytes) -> dict[int, list[int]]:
    found = AdversarialArchive.from_bytes(archive)
    return dict(zip(found.ids.tolist(), found.steps.tolist(), strict=True))


def _finder(name: str, example: int) -> str:
    """Under which name the attack's input for this example was found first."""
    itself, _, copied = name.rstrip(")").partition(" (")
    return copied if example in _named(copied) else itself


def _named(name: str) -> set[int]:
    if name == "everything":
        return set(range(40))
    return {int(word) for word in name.split() if word.isdigit()}


def defend(challenge: Challenge, user: User, *, name: str, share: float = 1.0) -> Submission:
    """A defense with its verdict; share: of the examples that the ensemble leaves."""
    entered = enter(challenge, user, name=name)
    while work_once(judge=FakeJudge(share=share)):
        pass
    return entered


def upload_attack(challenge: Challenge, user: User, *, name: str, target: str | None = None) -> Submission:
    """An attack through the front door, not looked at yet. target: makes it an array."""
    files: dict[str, bytes | str] = {
        "attack.toml": f'name = "{name}"\nformat = "python"\nentry = "attack.py"\n',
        "attack.py": CODE,
    }
    if target is not None:
        manifest = f'name = "{name}"\nformat = "array"\ntarget = "{target}"\narray = "adversarial.npy"\n'
        files = {"attack.toml": manifest, "adversarial.npy": b"\x93NUMPY and more"}
    return submit(user=user, team=team_of(user), challenge=challenge, archive=ContentFile(zipped(files), name="attack.zip"))


def attack(challenge: Challenge, user: User, *, name: str, target: str | None = None) -> Submission:
    """An accepted attack whose cells wait."""
    entered = upload_attack(challenge, user, name=name, target=target)
    look_once(FakePlayer())
    assert FirstLook.objects.get(submission=entered).verdict == FirstLook.Verdict.ACCEPTED
    return entered


def play(player: FakePlayer | None = None, *, times: int = 200) -> FakePlayer:
    """Plays until nothing waits; retries need not be waited for."""
    player = player or FakePlayer()
    for _ in range(times):
        Shard.objects.filter(state=Shard.State.QUEUED).update(not_before=Now())
        if not play_once(player):
            break
    return player
