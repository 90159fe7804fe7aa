"""Speaks with a hostile host over the real stream, as the scorer does, and tells with which typed error it stopped.

A defense's host is asked to load and then for logits and gradients; an attack's host (`attack-*`) is told to attack.
"""

from __future__ import annotations

import functools
import secrets
import shutil
import time
from collections.abc import Callable

import torch
from torch import Tensor

from arena.running.lanes import explained
from evaluator.data.tensors import Examples
from evaluator.errors import SubmissionError, visible
from evaluator.host.attack_session import AttackFault, AttackSession
from evaluator.host.proxy import Channel, RemoteModel
from evaluator.manifests.spec import AccessSpec, LimitsSpec
from evaluator.manifests.threat_specs import LinfSpec
from evaluator.models.meter import Meter, MeteredModel
from sandbox import Running, Sandbox
from tests.sandbox.hostile_suite.bait import Bait
from tests.sandbox.hostile_suite.cases import Case, Outcome, judged
from tests.sandbox.hostile_suite.in_sandbox import job, laid_out
from tests.sandbox.hostile_suite.traces import Traces

IMAGES, CLASSES = 4, 10
_ROUNDS = 3
_ROWS = 10**6  # an attack's budget
_ANSWERED = "answered"
_HOST_SECONDS = 60.0  # of the host's own job: what ends the case must be the scorer's patience


def run(case: Case, sandbox: Sandbox, bait: Bait) -> Outcome:
    """Raises nothing for whatever the host says."""
    marker = secrets.token_hex(8)
    folder = laid_out(case, bait, marker)
    clock = _Clock()
    try:
        before = Traces.now(sandbox)
        with sandbox.start(job(case, bait, marker, seconds=_HOST_SECONDS)) as running:
            end, said = _ANSWERED, ""
            try:
                (_attack if case.name.startswith("attack-") else _defense)(case, running, clock)
            except SubmissionError as error:
                clock.lap()
                told = explained(error, running, LimitsSpec())
                end, said = told.reason, str(told)
            except AttackFault as fault:
                clock.lap()
                end, said = fault.error.reason, str(fault)
            except Exception as error:
                clock.lap()
                end, said = f"an untyped {type(error).__name__}", str(error)
        losses = [*bait.harm(), *before.left(sandbox, marker)]
        losses += ["terminal commands reach whoever reads the verdict"] if visible(said) != said else []
    finally:
        shutil.rmtree(folder)
    return judged(case, clock.longest, end, said, losses)


class _Clock:
    """Measures each question on its own: every one has the whole limit."""

    def __init__(self) -> None:
        self.longest, self._begun = 0.0, time.monotonic()

    def lap(self) -> None:
        now = time.monotonic()
        self.longest, self._begun = max(self.longest, now - self._begun), now


def _defense(case: Case, running: Running, clock: _Clock) -> None:
    channel = Channel(running.stream, reply_seconds=case.seconds, load_seconds=case.seconds)
    channel.load()
    clock.lap()
    model = MeteredModel(RemoteModel(channel, classes=CLASSES), Meter(), classes=CLASSES)
    for _ in range(_ROUNDS):
        x = _images().requires_grad_(True)
        logits = model(x)
        clock.lap()
        logits.square().sum().backward()
        clock.lap()


def _attack(case: Case, running: Running, clock: _Clock) -> None:
    Channel(running.stream, reply_seconds=case.seconds, load_seconds=case.seconds).load()
    clock.lap()
    images = _images()
    examples = Examples(torch.arange(IMAGES), images, torch.zeros(IMAGES, dtype=torch.int64), CLASSES)
    model = MeteredModel(_linear(), Meter(_ROWS), classes=CLASSES)
    threat = LinfSpec(kind="linf", epsilon=0.1)
    AttackSession(running.stream, model, examples, threat, AccessSpec(), seed=1, seconds=case.seconds).run()
    clock.lap()


def _images() -> Tensor:
    return torch.rand(IMAGES, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@functools.cache
def _linear() -> Callable[[Tensor], Tensor]:
    weights = torch.rand(64, CLASSES, generator=torch.Generator().manual_seed(1))
    return lambda x: x.flatten(1) @ weights
