"""The program inside the attack sandbox: `python -m evaluator.host.attack_serve FOLDER`. Runs a submitted attack.

It gets x, y, the threat and what it may ask; its model asks the scorer over the same stream. What it returns is a claim.
Gets: load -> ready | failed; attack(x, y, target, left_each, threat, level, rows, classes, seed), where target is sent only
where the challenge names targets. Asks: forward(x, examples, keep) -> logits | refused; vjp(keep, cotangent) -> gradient |
expired | refused; price(x, examples | keep) -> price | expired | refused. Ends with result(points) or failed.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor

from evaluator.errors import InputError, SubmissionError
from evaluator.host.attack_proxy import Budget, ProxyModel, ScorerLine
from evaluator.host.computing import settle, without_compilers
from evaluator.host.failure_text import failure_text
from evaluator.host.load import load_function
from evaluator.host.serve import FOREVER, REQUEST_BYTES, private_pipes
from evaluator.host.wire import Message, Transport, receive, send
from evaluator.manifests.spec import Access, AttackManifest, load_manifest
from evaluator.manifests.threat_specs import ThreatSpec
from evaluator.models.meter import BudgetExhausted
from evaluator.records.report import SubmissionReason
from evaluator.threats import Threat, build

MANIFEST = "attack.toml"
Attack = Callable[..., Any]


def read_attack_manifest(folder: Path) -> AttackManifest:
    """The folder's attack.toml. Raises SubmissionError(manifest)."""
    try:
        return load_manifest(folder / MANIFEST, AttackManifest)
    except InputError as error:
        raise SubmissionError(SubmissionReason.MANIFEST, error.what, where=error.where, help=error.help) from error


def load_attack(folder: Path) -> Attack:
    """The submission's `attack` function. Raises SubmissionError."""
    manifest = read_attack_manifest(folder)
    return load_function(folder, str(manifest.entry), "attack(model, x, y, threat, budget)", where=MANIFEST)


def run(attack: Attack, task: Message, transport: Transport, folder: Path) -> None:
    """Plays the attack of `folder` as `task` says and sends what it returns, or why it returned nothing."""
    budget = Budget(int(task.fields["rows"]), task.tensors.get("left_each"))
    line = ScorerLine(transport, budget)
    model = ProxyModel(line, classes=int(task.fields["classes"]), level=cast(Access, task.fields["level"]))
    _seed(int(task.fields["seed"]))
    goal = {name: task.tensors[name] for name in ("target",) if name in task.tensors}
    try:
        ending = _result(attack(model, task.tensors["x"], task.tensors["y"], _threat(task.fields["threat"]), budget, **goal))
    except BudgetExhausted as error:
        help = "Catch evaluator.models.meter.BudgetExhausted and return what you have, or watch budget.left."
        ending = Message("failed", {"reason": SubmissionReason.BUDGET, "detail": f"{error}. {help}"})
    except BaseException as error:
        ending = Message("failed", {"reason": SubmissionReason.RAISED, "detail": failure_text(error, folder)})
    with line.turn:
        send(transport, ending, timeout=FOREVER)


def _result(returned: object) -> Message:
    points = torch.from_numpy(returned) if isinstance(returned, np.ndarray) else returned
    if not isinstance(points, Tensor):
        detail = f"attack() returned a {type(returned).__name__}; it must return a tensor shaped like x."
        return Message("failed", {"reason": SubmissionReason.SHAPE, "detail": detail})
    return Message("result", {}, {"points": points.detach().cpu()})


def _threat(text: str) -> Threat:
    spec: ThreatSpec = TypeAdapter[ThreatSpec](ThreatSpec).validate_json(text)
    return build(spec)


def _seed(seed: int) -> None:
    """Third-party attacks draw from the global generators: the same seed plays the same attack."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # it is the global one that third-party code uses
    torch.manual_seed(seed)


def main(folder: str) -> int:
    """Plays one attack."""
    pipes = private_pipes()
    settle(int(os.environ.get("OMP_NUM_THREADS", "1")))
    without_compilers()
    receive(pipes, limit=REQUEST_BYTES, timeout=FOREVER)
    try:
        attack = load_attack(Path(folder))
    except SubmissionError as error:
        send(pipes, Message("failed", {"reason": error.reason, "detail": str(error)}), timeout=FOREVER)
        return 1
    send(pipes, Message("ready"), timeout=FOREVER)
    run(attack, receive(pipes, limit=REQUEST_BYTES, timeout=FOREVER), pipes, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
