"""The two lanes a model can be asked through, with the same verdicts: in this process, or in a sandboxed host."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

import evaluator
from arena.running.listening import SILENT, Listener
from arena.running.lives import Doubts, Lifeline, Secret
from arena.running.warm import pool
from evaluator.attacks.base import Model
from evaluator.errors import InputError, SubmissionError
from evaluator.host.attack_session import AttackFault
from evaluator.host.computing import settle
from evaluator.host.interrupting import interruptible
from evaluator.host.load import load_weights_only
from evaluator.host.local import Blamed, in_process
from evaluator.host.placing import placed
from evaluator.host.proxy import Channel, Line, RemoteModel
from evaluator.manifests import architecture_shapes
from evaluator.manifests.spec import DefenseManifest, LimitsSpec
from evaluator.records.report import SubmissionReason
from sandbox import Job, Limits, Running, Sandbox, SandboxError
from sandbox.python_env import python_mounts

LaneName = Literal["in-process", "host"]
LOAD_SECONDS = 120.0
_POLL_SECONDS = 0.1
_BESIDE = 1 << 21  # tells the host for what code could notice from the others of its opening
Outcome = TypeVar("Outcome")
logger = logging.getLogger(__name__)
SUBMISSION = PurePosixPath("/submission")


def choose(wanted: str, manifest: DefenseManifest) -> LaneName:
    """ "auto" runs weights-only submissions in-process and everything else in a host.

    Raises InputError for "in-process" with a submission that contains code.
    """
    weights_only = manifest.format == "safetensors"
    if wanted == "in-process" and not weights_only:
        raise InputError("code never runs in this process.", where="lane", help="Use the host lane for it.")
    return "in-process" if weights_only and wanted != "host" else "host"


def settled_threads(limits: LimitsSpec) -> int:
    """Sets this process up to compute, and says on how many threads: those of the challenge that the machine has."""
    threads = max(1, min(int(limits.cpus), os.cpu_count() or 1))
    settle(threads)
    return threads


@dataclass(frozen=True)
class Lane:
    """How one submission's model is opened.

    folder: the staged copy; threads: torch threads in the host; listener: given the host's own output when it ends, and polled
    while a model computes, in the middle of a pass too. A pass that is cancelled raises Cancelled. device: where an in-process
    model runs; a host has the devices that its sandbox gives it. seed: the scorer's secret, which decides how long the model's
    processes live (`arena.running.lives`); doubts: what they answered differently.
    """

    name: LaneName
    folder: Path
    manifest: DefenseManifest
    limits: LimitsSpec
    sandbox: Sandbox
    threads: int
    listener: Listener = SILENT
    device: str = "cpu"
    seed: int = field(default_factory=lambda: secrets.randbits(63))
    doubts: Doubts = field(default_factory=Doubts)

    def open(self, classes: int, *about: int) -> AbstractContextManager[Model]:
        """A fresh copy of the model. about: numbers that tell this opening from others, for what the secret seed decides."""
        if self.name == "in-process":
            network = interruptible(load_weights_only(self.folder, self.manifest), self.listener.tick)
            if self.device != "cpu":
                return nullcontext(Blamed(placed(network, self.device)))
            shape = architecture_shapes.find(str(self.manifest.architecture)).shape
            return nullcontext(in_process(network, shape=shape, classes=classes, memory_mb=self.limits.memory_mb))
        return self._host(classes, about)

    @contextmanager
    def _host(self, classes: int, about: tuple[int, ...]) -> Iterator[Model]:
        with ExitStack() as beside:

            @cache
            def opened() -> Line:
                """A host for what code could notice, opened where it is needed: its answers judge nothing."""
                return beside.enter_context(self.line((*about, _BESIDE), lambda log: None))

            with self.line(about, self.listener.on_log) as line:
                yield RemoteModel(line, classes=classes, beside=opened)

    @contextmanager
    def line(self, about: tuple[int, ...], on_log: Callable[[bytes], None]) -> Iterator[Line]:
        """A started host that has loaded the submission. on_log: given its output when it ends."""
        random = self.manifest.randomized
        secret = Secret((self.seed, *about), seeded=random)
        line = Lifeline(lambda stack: self._started(stack, on_log), secret, None if random else self.doubts)
        try:
            with _unless_cancelled(line, self.listener):
                line.load()
                pool().prepare(self.sandbox, self._job(), SUBMISSION)
                yield line
        except SubmissionError as error:
            raise explained(error, line.running, self.limits) from error
        finally:
            line.close()

    def _started(self, stack: ExitStack, on_log: Callable[[bytes], None]) -> tuple[Running, Channel]:
        """A sandboxed host that has loaded nothing yet; `stack` ends it."""
        running = stack.enter_context(pool().host(self.sandbox, self._job(), self.folder, SUBMISSION))
        stack.callback(_end, running, on_log)
        return running, Channel(running.stream, reply_seconds=self.limits.reply_seconds, load_seconds=LOAD_SECONDS)

    def _job(self) -> Job:
        mounts, python, env = python_mounts([Path(evaluator.__file__).parent])
        limits = self.limits
        return Job(
            argv=(python, "-m", "evaluator.host.serve", str(SUBMISSION)),
            mounts=mounts,
            env={
                **env,
                "OMP_NUM_THREADS": str(self.threads),
                "OMP_WAIT_POLICY": "PASSIVE",
                "REDOUBT_MEMORY_MB": str(limits.memory_mb),
            },
            limits=Limits(memory_mb=limits.memory_mb, processes=limits.processes, cpus=limits.cpus, seconds=limits.seconds),
            required=limits.required,
        )


def _end(running: Running, on_log: Callable[[bytes], None]) -> None:
    running.kill()
    text, dropped = running.log()
    on_log(text + (b"\n[%d more bytes dropped]" % dropped if dropped else b""))


@contextmanager
def _unless_cancelled(line: Lifeline, listener: Listener) -> Iterator[None]:
    """Kills the host as soon as the run is cancelled: nobody waits for its answer, and its end counts as Cancelled."""
    left = threading.Event()

    def watch() -> None:
        while not left.wait(_POLL_SECONDS):
            if listener.cancelled():
                with suppress(SandboxError):
                    line.running.kill()
                if left.wait(_POLL_SECONDS):
                    return

    watcher = threading.Thread(target=watch, name="kills a cancelled host", daemon=True)
    watcher.start()
    try:
        yield
    except Exception:
        listener.tick()
        raise
    finally:
        left.set()
        watcher.join()


class HostKilled(SubmissionError):
    """The host died by SIGKILL within its limits: the machine's doing, or the submission's own."""


def once_more(play: Callable[[], Outcome]) -> Outcome:
    """Plays again, once, what ended with a killed host.

    An operator or a machine short of memory kills a host only once. A submission that kills itself does it again, and is
    then blamed for it.
    """
    try:
        return play()
    except (HostKilled, AttackFault) as error:
        if isinstance(error, AttackFault) and not isinstance(error.error, HostKilled):
            raise
        logger.warning("a host was killed; it is started again: %s", error)
        return play()


def explained(error: SubmissionError, running: Running, limits: LimitsSpec) -> SubmissionError:
    """When the process is gone, the sandbox knows better why."""
    if error.reason not in (SubmissionReason.DIED, SubmissionReason.TIMEOUT):
        return error
    end = running.wait(timeout=2.0)
    if end is None:
        return error
    match end.cause:
        case "memory":
            what = f"used more than the {limits.memory_mb} MiB this challenge allows."
            return SubmissionError(SubmissionReason.MEMORY, what, help="Use a smaller model or less memory per image.")
        case "deadline":
            return SubmissionError(SubmissionReason.TIMEOUT, f"ran longer than the {limits.seconds} s this challenge allows.")
        case "signal" if end.signal == signal.SIGKILL:
            return HostKilled(error.reason, error.what, where=f"killed by signal {end.signal}", help=error.help)
        case "signal":
            return SubmissionError(error.reason, error.what, where=f"killed by signal {end.signal}", help=error.help)
        case "exited":
            return SubmissionError(error.reason, error.what, where=f"exit status {end.code}", help=error.help)
    return error
