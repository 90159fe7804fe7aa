"""The one place where evaluator and sandbox meet: runs the official evaluation of one submission.

Knows no Django, so that `redoubt evaluate` and the site's worker run the very same code. Web code never imports it.
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import torch
from sandbox.python_env import python_mounts

import evaluator
from arena.evaluations.merging import merge
from arena.evaluations.staging import Staged, staged
from evaluator.attacks.base import Model
from evaluator.data import examples as ranked_examples
from evaluator.ensembles import standard
from evaluator.errors import Cancelled, InputError, PlatformError, SubmissionError
from evaluator.evaluation import Verdict, evaluate
from evaluator.host.load import load_weights_only, read_manifest
from evaluator.host.proxy import Channel, RemoteModel
from evaluator.intervals import clopper_pearson
from evaluator.report import (
    Completed,
    Digests,
    Environment,
    Outcome,
    PlatformFailed,
    Progress,
    Report,
    SubmissionFailed,
    SubmissionReason,
)
from evaluator.spec import DefenseManifest, Pack
from evaluator.threats import build
from sandbox import Job, Limits, Mount, Running, Sandbox, SandboxError
from sandbox.base import Enforcement

__all__ = ["Lane", "Request", "merge", "run_defense"]

logger = logging.getLogger(__name__)
Lane = Literal["auto", "in-process", "host"]
_LOAD_SECONDS = 120.0
_SUBMISSION = PurePosixPath("/submission")
_CODE = PurePosixPath("/redoubt/evaluator")


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    submission: an unpacked folder with its manifest. shard: (start, stop) positions among the pack's ranked examples,
    None for all. seed: keys all of the evaluation's randomness; the same seed gives the same verdicts bit for bit.
    examples: rank only on the first so many. lane: "auto" runs weights-only submissions in-process and code in a host.
    """

    pack: Pack
    submission: Path
    seed: int
    shard: tuple[int, int] | None = None
    examples: int | None = None
    lane: Lane = "auto"


@dataclass(frozen=True)
class Listener:
    """Whom to tell, and whether to go on."""

    on_progress: Callable[[Progress], None]
    on_log: Callable[[bytes], None]
    cancelled: Callable[[], bool]


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
    (bounded, untrusted bytes). cancelled: polled at every model call. The report is unsigned (`evaluator.receipt.sign`).
    """
    try:
        with staged(request.submission) as copy:
            return _run(request, copy, sandbox, Listener(on_progress, on_log, cancelled))
    except Cancelled:
        raise
    except SubmissionError as error:
        return SubmissionFailed(error.reason, str(error))
    except PlatformError as error:
        return PlatformFailed(error.reason, str(error))
    except SandboxError as error:
        return PlatformFailed("sandbox", str(error))
    except InputError as error:
        return PlatformFailed("pack", str(error))
    except Exception as error:
        logger.exception("the evaluation of %s failed", request.submission)
        return PlatformFailed("internal", f"{type(error).__name__}: {error}")


def _run(request: Request, copy: Staged, sandbox: Sandbox, listener: Listener) -> Outcome:
    challenge = request.pack.challenge
    data = challenge.data
    if request.examples is not None:
        data = data.model_copy(update={"examples": min(request.examples, data.examples)})
    everything = ranked_examples(data)
    start, stop = request.shard or (0, len(everything))
    size = challenge.evaluation.shard_examples
    pieces = [(first, min(first + size, stop)) for first in range(start, stop, size)]
    manifest = read_manifest(copy.folder)
    lane: Literal["in-process", "host"] = "in-process" if manifest.format == "safetensors" else "host"
    if request.lane != "auto" and not (request.lane == "in-process" and lane == "host"):
        lane = request.lane
    threads = max(1, min(int(challenge.limits.cpus), os.cpu_count() or 1))
    torch.set_num_threads(threads)
    bench = _Bench(request, copy, manifest, sandbox, lane, threads, listener)
    done = []
    for first, last in pieces:
        part = everything[first:last]
        threat = build(challenge.threat)
        verdict = evaluate(
            lambda: bench.open(part.classes),  # noqa: B023 (called only within this round)
            part,
            threat,
            standard(),
            seed=request.seed,
            on_progress=_shifted(listener.on_progress, first - start, stop - start, done),
            cancelled=listener.cancelled,
        )
        done.append(Completed(bench.report(verdict, part.ids.tolist(), part.digest)))
    return merge(list(done))


def _shifted(
    on_progress: Callable[[Progress], None], before: int, total: int, done: list[Completed]
) -> Callable[[Progress], None]:
    """Progress of one piece as progress of the whole run."""
    reports = [outcome.report for outcome in done]
    survivors = sum(sum(report.robust_bits) for report in reports)
    forward, backward = sum(r.forward_rows for r in reports), sum(r.backward_rows for r in reports)
    seconds = sum(report.seconds for report in reports)

    def tell(piece: Progress) -> None:
        settled, spent = before + piece.done, seconds + piece.seconds
        pending = total - before - piece.total
        on_progress(
            replace(
                piece,
                done=settled,
                total=total,
                survivors=survivors + piece.survivors + pending,
                forward_rows=forward + piece.forward_rows,
                backward_rows=backward + piece.backward_rows,
                seconds=spent,
                seconds_left=spent / settled * (total - settled) if settled else None,
            )
        )

    return tell


@dataclass(frozen=True)
class _Bench:
    """Everything that stays the same over the pieces of one run."""

    request: Request
    copy: Staged
    manifest: DefenseManifest
    sandbox: Sandbox
    lane: Literal["in-process", "host"]
    threads: int
    listener: Listener

    def open(self, classes: int) -> AbstractContextManager[Model]:
        """A fresh copy of the model, in the chosen lane."""
        if self.lane == "in-process":
            return nullcontext(load_weights_only(self.copy.folder, self.manifest))
        return self._host(classes)

    @contextmanager
    def _host(self, classes: int) -> Iterator[Model]:
        limits = self.request.pack.challenge.limits
        with self.sandbox.start(self._job()) as running:
            channel = Channel(running.stream, reply_seconds=limits.reply_seconds, load_seconds=_LOAD_SECONDS)
            try:
                channel.load()
                yield RemoteModel(channel, classes=classes)
            except SubmissionError as error:
                raise _explained(error, running, limits.memory_mb, limits.seconds) from error
            finally:
                running.kill()
                text, dropped = running.log()
                self.listener.on_log(text + (b"\n[%d more bytes dropped]" % dropped if dropped else b""))

    def _job(self) -> Job:
        limits = self.request.pack.challenge.limits
        mounts, python, env = python_mounts()
        code = Path(evaluator.__file__).parent
        return Job(
            argv=(python, "-m", "evaluator.host.serve", str(_SUBMISSION)),
            mounts=(*mounts, Mount(code, _CODE), Mount(self.copy.folder, _SUBMISSION)),
            env={
                **env,
                "PYTHONPATH": f"{_CODE.parent}:{env['PYTHONPATH']}" if env.get("PYTHONPATH") else str(_CODE.parent),
                "PYTHONDONTWRITEBYTECODE": "1",
                "OMP_NUM_THREADS": str(self.threads),
                "OMP_WAIT_POLICY": "PASSIVE",
            },
            limits=Limits(memory_mb=limits.memory_mb, processes=limits.processes, cpus=limits.cpus, seconds=limits.seconds),
            required=limits.required,
        )

    def report(self, verdict: Verdict, ids: list[int], data_digest: str) -> Report:
        """One piece's report."""
        count, robust = len(ids), int(verdict.robust.sum())
        capabilities = self.sandbox.capabilities() if self.lane == "host" else None
        enforced = [] if capabilities is None else [k for k, v in capabilities.promises.items() if v is Enforcement.FULL]
        return Report(
            challenge=self.request.pack.slug,
            submission=self.manifest.name,
            examples=count,
            ids=ids,
            clean_accuracy=float(verdict.correct.double().mean()),
            robust_accuracy=robust / count,
            robust_interval=clopper_pearson(robust, count),
            certified_accuracy=None,
            correct_bits=verdict.correct.int().tolist(),
            robust_bits=verdict.robust.int().tolist(),
            certified_bits=[0] * count,
            broken_by=verdict.broken_by.tolist(),
            attacks=verdict.attacks,
            flags=verdict.flags,
            verified=not any(flag.severity == "unverified" for flag in verdict.flags),
            seed=self.request.seed,
            forward_rows=verdict.forward_rows,
            backward_rows=verdict.backward_rows,
            seconds=verdict.seconds,
            digests=Digests(submission=self.copy.digest, pack=self.request.pack.digest, data=data_digest),
            environment=Environment(
                evaluator=evaluator.__version__,
                torch=torch.__version__,
                python=platform.python_version(),
                device="cpu",
                threads=self.threads,
                lane=self.lane,
                sandbox="none" if capabilities is None else capabilities.backend,
                enforced=enforced,
            ),
        )


def _explained(error: SubmissionError, running: Running, memory_mb: int, seconds: int) -> SubmissionError:
    """When the process is gone, the sandbox knows better why."""
    if error.reason not in (SubmissionReason.DIED, SubmissionReason.TIMEOUT):
        return error
    end = running.wait(timeout=2.0)
    match end.cause if end else "":
        case "memory":
            what = f"used more than the {memory_mb} MiB this challenge allows."
            return SubmissionError(SubmissionReason.MEMORY, what, help="Use a smaller model or less memory per image.")
        case "deadline":
            return SubmissionError(SubmissionReason.TIMEOUT, f"ran longer than the {seconds} s this challenge allows.")
        case "signal":
            return SubmissionError(error.reason, error.what, where=f"killed by signal {end.signal}", help=error.help)  # type: ignore[union-attr]
        case "exited":
            return SubmissionError(error.reason, error.what, where=f"exit status {end.code}", help=error.help)  # type: ignore[union-attr]
    return error
