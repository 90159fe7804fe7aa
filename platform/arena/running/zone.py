"""The attack zone: a submitted attack in a sandbox of its own, which holds nothing but its folder and our packages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import evaluator
from arena.running.lanes import LOAD_SECONDS, explained
from arena.running.listening import Listener
from arena.running.warm import pool
from evaluator.errors import SubmissionError
from evaluator.host.attack_session import AttackFault
from evaluator.host.proxy import Channel
from evaluator.host.wire import Transport
from evaluator.manifests.spec import LimitsSpec
from sandbox import Job, Limits, Mount, Sandbox
from sandbox.python_env import python_mounts

ATTACK = PurePosixPath("/attack")
_WEIGHTS = ("baselines", "reference")  # folders of evaluator/defenses: an attack may play against what they hold


@contextmanager
def blaming_the_attack() -> Iterator[None]:
    """Whatever submission error happens within is the attack's and not the defense's."""
    try:
        yield
    except SubmissionError as error:
        raise AttackFault(error) from error


@dataclass(frozen=True)
class AttackZone:
    """How one attack is run.

    folder: the staged copy; limits: the challenge's, `seconds` being the attack's own wall clock once it is loaded;
    threads: torch threads inside; listener: given the attack's own output when it ends.
    """

    folder: Path
    limits: LimitsSpec
    sandbox: Sandbox
    threads: int
    listener: Listener

    @contextmanager
    def open(self) -> Iterator[Transport]:
        """A loaded attack that waits for its task. Raises AttackFault, of which the sandbox may know the cause better."""
        job = self._job()
        with pool().host(self.sandbox, job, self.folder, ATTACK) as running:
            try:
                channel = Channel(running.stream, reply_seconds=self.limits.reply_seconds, load_seconds=LOAD_SECONDS)
                with blaming_the_attack():
                    channel.load()
                pool().prepare(self.sandbox, job, ATTACK)
                yield running.stream
            except AttackFault as fault:
                raise AttackFault(explained(fault.error, running, self.limits)) from fault
            finally:
                running.kill()
                text, dropped = running.log()
                self.listener.on_log(text + (b"\n[%d more bytes dropped]" % dropped if dropped else b""))

    def _job(self) -> Job:
        mounts, python, env = python_mounts([Path(evaluator.__file__).parent])
        limits = self.limits
        seconds = limits.seconds + LOAD_SECONDS
        return Job(
            argv=(python, "-m", "evaluator.host.attack_serve", str(ATTACK)),
            mounts=mounts,
            hidden=weights_within(mounts),
            env={**env, "OMP_NUM_THREADS": str(self.threads), "OMP_WAIT_POLICY": "PASSIVE"},
            limits=Limits(memory_mb=limits.memory_mb, processes=limits.processes, cpus=limits.cpus, seconds=seconds),
            required=limits.required,
        )


def weights_within(mounts: Iterable[Mount]) -> tuple[PurePosixPath, ...]:
    """Where the weights of shipped defenses would be seen: the evaluator may be an input, or installed among the packages."""
    found = []
    for mount in mounts:
        for package in (PurePosixPath(), PurePosixPath("evaluator")):
            folders = [package / "defenses" / name for name in _WEIGHTS]
            if (mount.source / package).name == "evaluator":
                found += [mount.target / folder for folder in folders if (mount.source / folder).is_dir()]
    return tuple(found)
