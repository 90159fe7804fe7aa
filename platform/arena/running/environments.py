"""Where and with what something was judged, as reports record it."""

from __future__ import annotations

import platform

import torch

import evaluator
from arena.running.lanes import Lane
from evaluator.records.identity import JUDGING, source_digest
from evaluator.records.report import Environment
from sandbox.base import Enforcement


def environment(lane: Lane, *, sandboxed: bool) -> Environment:
    """lane: the defense's. sandboxed: whether anything ran in the sandbox, the defense or an attack."""
    capabilities = lane.sandbox.capabilities() if sandboxed else None
    enforced = [] if capabilities is None else [k for k, v in capabilities.promises.items() if v is Enforcement.FULL]
    return Environment(
        evaluator=evaluator.__version__,
        source=source_digest(),
        judging=JUDGING,
        torch=torch.__version__,
        python=platform.python_version(),
        device=lane.device if lane.name == "in-process" else "cpu",
        threads=lane.threads,
        lane=lane.name,
        sandbox="none" if capabilities is None else capabilities.backend,
        enforced=enforced,
    )
