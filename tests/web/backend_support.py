"""What the backend's tests share: people, a small challenge, archives, and a judge that needs no torch."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import struct
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from unittest.mock import patch

from django.core.files.base import ContentFile

from arena.accounts.models import Team, User
from arena.accounts.services import sign_up
from arena.challenges.models import Challenge
from arena.challenges.services import publish
from arena.evaluations.models import Evaluation
from arena.jobs import lines, runner, worker
from arena.jobs.judges import Line
from arena.jobs.leases import Lease
from arena.jobs.models import Shard
from arena.running.listening import Listener
from arena.running.requests import Request
from arena.submissions.models import Submission
from arena.submissions.services import submit
from evaluator.errors import Cancelled
from evaluator.manifests.architecture_shapes import find
from evaluator.manifests.spec import Challenge as ChallengeManifest
from evaluator.manifests.spec import Pack
from evaluator.records.report import AttackRecord, Completed, Digests, Environment, Flag, Outcome, Progress, Report

PASSWORD = "correct horse battery staple"
MANIFEST = 'name = "Small CNN"\nformat = "safetensors"\narchitecture = "mnist-cnn"\nweights = "weights.safetensors"\n'


def person(name: str = "alice") -> User:
    """An account with its personal team."""
    return sign_up(username=name, email=f"{name}@example.org", password=PASSWORD, address="192.0.2.1")


def team_of(user: User) -> Team:
    return user.teams.get(personal=True)


def small_pack(
    slug: str = "mnist-linf",
    *,
    examples: int = 40,
    shard: int = 10,
    epsilon: float = 0.3,
    dataset: str = "mnist",
    baselines: Sequence[str] = (),
    goal: dict[str, object] | None = None,
) -> Pack:
    manifest = {
        "title": "MNIST, Linf 0.3",
        "data": {"dataset": dataset, "examples": examples},
        "threat": {"kind": "linf", "epsilon": epsilon},
        "evaluation": {"shard_examples": shard},
        "baselines": {"enter": list(baselines)},
        "goal": goal or {"kind": "untargeted"},
    }
    digest = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
    return Pack(slug=slug, folder=None, challenge=ChallengeManifest.model_validate(manifest), digest=digest)


def small_challenge(slug: str = "mnist-linf", **pack: Any) -> Challenge:
    return publish(pack=small_pack(slug, **pack)).challenge


def safetensors(values: int = 2) -> bytes:
    """A well-formed file with one float32 vector."""
    tensor = {"dtype": "F32", "shape": [values], "data_offsets": [0, 4 * values]}
    header = json.dumps({"weight": tensor}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4 * values)


@cache
def mnist_cnn_weights() -> bytes:
    """A well-formed file with the tensors of mnist-cnn, all zero."""
    header: dict[str, object] = {}
    end = 0
    for name, tensor in find("mnist-cnn").tensors.items():
        begin, end = end, end + 4 * math.prod(tensor.shape)
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(end)


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    """The same bytes for the same files, whenever it is called: an archive is known by its digest."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)  # dated 1980; a plain name would be dated now
            entry.external_attr = 0o600 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def good_files(name: str = "Small CNN") -> dict[str, bytes | str]:
    return {"defense.toml": MANIFEST.replace("Small CNN", name), "weights.safetensors": mnist_cnn_weights()}


def enter(challenge: Challenge, user: User, *, name: str = "Small CNN") -> Submission:
    """A submission through the front door."""
    archive = ContentFile(zipped(good_files(name)), name="defense.zip")
    return submit(user=user, team=team_of(user), challenge=challenge, archive=archive)


def current(submission: Submission) -> Evaluation:
    return submission.evaluations.get(current=True)


def bit(seed: int, example: int, share: float) -> int:
    """1 for about `share` of the examples, decided by seed and example alone."""
    digest = hashlib.sha256(f"{seed} {example}".encode()).digest()
    return int(int.from_bytes(digest[:4], "big") < share * 2**32)


@dataclass
class FakeJudge(runner.Runner):
    """Judges by a hash instead of a network: same seed, same bits, whatever the sharding.

    It stands for the evaluator, which has its own tests (tests/evaluator) and meets this machinery in tests/e2e, where the
    worker runs with the real runner; what is proved with it is the machinery around: leases,
    retries, merging, boards. seconds: how long a shard takes. plan: what happens on each call before the verdict.
    """

    seconds: float = 0.0
    share: float = 0.6
    verified: bool = True
    plan: Sequence[Outcome | Exception | Callable[[Request], None] | None] = ()
    calls: int = 0

    def evaluate(self, request: Request, listener: Listener, /) -> Outcome:
        step = self.plan[self.calls] if self.calls < len(self.plan) else None
        self.calls += 1
        assert (request.submission / "defense.toml").is_file()
        if isinstance(step, Exception):
            raise step
        if callable(step):
            step(request)
        elif step is not None:
            return step
        start, stop = request.shard or (0, request.pack.challenge.data.examples)
        listener.on_log(f"loaded for {start}\n".encode())
        until = time.monotonic() + self.seconds
        done = 0
        while True:
            if listener.cancelled():
                raise Cancelled("stopped")
            listener.on_progress(Progress("attacking", "pgd", done, stop - start, stop - start, seconds_left=1.0))
            if time.monotonic() >= until:
                break
            time.sleep(0.01)
            done = min(stop - start, done + 1)
        return Completed(self._report(request))

    def _report(self, request: Request) -> Report:
        ids = list(range(*(request.shard or (0, request.pack.challenge.data.examples))))
        robust = [bit(request.seed, example, self.share) for example in ids]
        count = len(ids)
        unverified = Flag(check="masking", severity="unverified", evidence="One step beats forty.")
        flags = [] if self.verified else [unverified]
        return Report(
            challenge=request.pack.slug,
            submission="fake",
            examples=count,
            ids=ids,
            clean_accuracy=1.0,
            robust_accuracy=sum(robust) / count,
            robust_interval=(0.0, 1.0),
            certified_accuracy=None,
            correct_bits=[1] * count,
            robust_bits=robust,
            certified_bits=[0] * count,
            broken_by=[-1 if keep else 0 for keep in robust],
            attacks=[
                AttackRecord(
                    name="pgd",
                    tried=count,
                    broken=count - sum(robust),
                    survivors=sum(robust),
                    forward_rows=10 * count,
                    backward_rows=9 * count,
                    seconds=0.1,
                )
            ],
            flags=flags,
            verified=self.verified,
            seed=request.seed,
            forward_rows=10 * count,
            backward_rows=9 * count,
            seconds=0.1,
            digests=Digests(submission="s", pack=request.pack.digest, data="d"),
            environment=Environment(
                evaluator="fake", torch="", python="", device="cpu", threads=1, lane="in-process", sandbox="none", enforced=[]
            ),
        )


@contextmanager
def judged_by(judge: runner.Runner | None = None, player: runner.Runner | None = None) -> Iterator[None]:
    """Has everything judged by this judge and played by this player while it lasts, in this whole process."""
    together = copy(player or judge or runner.configured())
    if judge is not None:
        together.evaluate = judge.evaluate  # type: ignore[method-assign]
    with patch.object(runner, "configured", lambda: together):
        yield


def work_once(
    *,
    judge: runner.Runner | None = None,
    player: runner.Runner | None = None,
    stop: threading.Event | None = None,
    only: int | None = None,
) -> bool:
    """Works on the search that is first in line, or on what comes before it."""
    with judged_by(judge, player):
        return worker.work_once(Line.OLDEST, stop=stop, only=only)


def work_forever(stop: threading.Event, *, judge: runner.Runner) -> None:
    """A worker in this thread."""
    with judged_by(judge):
        worker.work_forever(stop)


def lease_one(*, owner: str, shard_id: int | None = None) -> Lease | None:
    """Claims the next shard of a search; with `shard_id` that one, or none while it does not wait."""
    if shard_id is not None:
        others = Shard.objects.filter(state=Shard.State.QUEUED).exclude(pk=shard_id)
        others.update(not_before=datetime(2100, 1, 1, tzinfo=UTC))
    return lines.lease_first(Line.OLDEST, owner=owner)


def slow_fake_judge() -> FakeJudge:
    """For worker processes: settings name this function. REDOUBT_FAKE_SECONDS: how long a shard takes."""
    return FakeJudge(seconds=float(os.environ.get("REDOUBT_FAKE_SECONDS", "0")))


def expected_bits(evaluation: Evaluation, share: float = 0.6) -> list[int]:
    """The verdict that a FakeJudge must reach for this evaluation, however its shards were run."""
    return [bit(evaluation.seed, example, share) for example in range(evaluation.examples)]
