"""The official runner: both lanes agree, shards merge, and a hostile defense changes nothing but its own log."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from packs import BASELINE, HONEST, python_submission, small_pack

from arena.running.defense import Request, run_defense
from arena.running.listening import Listener
from arena.running.merging import merge
from evaluator.errors import Cancelled
from evaluator.manifests.spec import Pack
from evaluator.records import receipt
from evaluator.records.report import Completed, Outcome, Progress, Report, SubmissionFailed
from sandbox.choose import open_sandbox

SEED = 20261121


def run(pack: Pack, folder: Path, **options: object) -> Outcome:
    return run_defense(Request(pack=pack, submission=folder, seed=SEED, **options), sandbox=open_sandbox("auto"))  # type: ignore[arg-type]


def report_of(outcome: Outcome) -> Report:
    assert isinstance(outcome, Completed), outcome
    return outcome.report


# One process for all that compare with it, so that it is judged once.
beside_honest = pytest.mark.xdist_group("the honest verdict")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The verdict on the plain weights, in-process."""
    return report_of(run(small_pack(tmp_path_factory.mktemp("pack")), BASELINE))


@pytest.mark.slow
@beside_honest
def test_both_lanes_give_the_same_verdict_bit_for_bit(tmp_path: Path, honest: Report) -> None:
    hosted = report_of(run(small_pack(tmp_path), BASELINE, lane="host"))
    assert (honest.environment.lane, hosted.environment.lane) == ("in-process", "host")
    assert 0 < sum(hosted.robust_bits) < sum(hosted.correct_bits), "the test needs both falls and survivors"
    assert receipt.compare(honest, hosted) == []


@pytest.mark.slow
@beside_honest
def test_shards_run_apart_merge_to_the_whole(tmp_path: Path, honest: Report) -> None:
    pack = small_pack(tmp_path)
    shards = [run(pack, BASELINE, shard=(first, first + 6)) for first in (0, 6)]
    assert receipt.compare(honest, report_of(merge(shards))) == []


HOSTILE = (
    HONEST.replace("def load(", "def honest(")
    + """
import os, socket, sys, threading, time
import torch

ATTEMPTS = {}

def attempt(name):
    def record(action):
        try:
            ATTEMPTS[name] = "SUCCEEDED: " + repr(action())[:200]
        except BaseException as error:
            ATTEMPTS[name] = "blocked: " + type(error).__name__
    return record

@attempt("shadow")
def _():
    return open("/etc/shadow").read()

@attempt("passwd")
def _():
    return open("/etc/passwd").read()

@attempt("root")
def _():
    return os.listdir("/root")

@attempt("socket")
def _():
    return socket.create_connection(("127.0.0.1", 80), timeout=2)

@attempt("write to the input")
def _():
    return open(os.path.dirname(__file__) + "/weights.safetensors", "ab").write(b"x")

@attempt("write to the code")
def _():
    import evaluator
    return open(os.path.dirname(evaluator.__file__) + "/own.py", "w").write("x")

@attempt("labels")
def _():
    import evaluator
    from evaluator.data import load
    os.environ["REDOUBT_CACHE"] = "/tmp/cache"
    return load("mnist", "test").labels[:3]

class Hostile(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net
    def forward(self, x):
        if os.fork() == 0:
            while True:
                time.sleep(1000)
        return self.net(x)

def load(directory):
    model = Hostile(honest(directory))
    print("ATTEMPTS", ATTEMPTS, flush=True)
    line = "z" * (1 << 20)
    for _ in range(1024):
        print(line)
    sys.stdout.flush()
    return model
"""
)


@pytest.mark.slow
@beside_honest
def test_a_hostile_defense_reaches_nothing_and_scores_what_its_logits_are_worth(tmp_path: Path, honest: Report) -> None:
    folder = python_submission(tmp_path / "hostile", HOSTILE)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    logs: list[bytes] = []
    request = Request(pack=small_pack(tmp_path), submission=folder, seed=SEED)
    outcome = run_defense(request, sandbox=open_sandbox("auto"), listener=Listener(on_log=logs.append))
    said = logs[0].decode("utf-8", "replace") if logs else ""
    assert "ATTEMPTS" in said, outcome
    for name in ("shadow", "passwd", "root", "socket", "write to the input", "write to the code", "labels"):
        assert f"'{name}': 'blocked" in said, said[:2000]
    assert all(len(text) < 200_000 for text in logs), "the log is bounded"
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    if isinstance(outcome, Completed):  # its forks may also spend its process limit, which fails it: never a better score
        assert outcome.report.robust_bits == honest.robust_bits
        assert outcome.report.correct_bits == honest.correct_bits
    else:
        assert isinstance(outcome, SubmissionFailed)


@pytest.mark.slow
@beside_honest
def test_a_defense_that_patches_torch_in_its_own_process_gains_nothing(tmp_path: Path, honest: Report) -> None:
    patched = HONEST + (
        "\nimport torch\n"
        "torch.Tensor.argmax = lambda self, *a, **k: torch.zeros(len(self), dtype=torch.int64)\n"
        "torch.isfinite = lambda x: torch.ones_like(x, dtype=torch.bool)\n"
        "torch.nn.functional.cross_entropy = lambda *a, **k: torch.zeros(())\n"
    )
    hosted = report_of(run(small_pack(tmp_path), python_submission(tmp_path / "patched", patched)))
    assert hosted.robust_bits == honest.robust_bits


def test_a_defense_that_sleeps_forever_fails_with_a_reason_within_its_time(tmp_path: Path) -> None:
    sleepy = "    model = honest(d)\n    model.forward = lambda x: time.sleep(10**6)\n    return model\n"
    code = HONEST + "\nimport time\nhonest = load\ndef load(d):\n" + sleepy
    pack = small_pack(tmp_path, reply_seconds=3)
    begun = time.monotonic()
    outcome = run(pack, python_submission(tmp_path / "sleepy", code))
    assert isinstance(outcome, SubmissionFailed)
    assert outcome.reason == "timeout"
    assert "within 3 s" in outcome.detail
    assert time.monotonic() - begun < 40


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        ("def load(d):\n    return bytearray(8 << 30)", "memory", "MiB this challenge allows"),
        ("import os\ndef load(d):\n    os._exit(7)", "died", "exit status 7"),
        ("import os\ndef load(d):\n    os.kill(os.getpid(), 11)", "died", "signal 11"),
        ("def load(d):\n    raise KeyError('conv1')", "load", "conv1"),
    ],
)
def test_a_defense_that_does_not_start_says_why(tmp_path: Path, code: str, reason: str, words: str) -> None:
    outcome = run(small_pack(tmp_path, memory_mb=1024), python_submission(tmp_path / "broken", code))
    assert isinstance(outcome, SubmissionFailed), outcome
    assert outcome.reason == reason, outcome
    assert words in outcome.detail


def test_a_link_in_the_submission_is_refused_before_anything_runs(tmp_path: Path) -> None:
    folder = python_submission(tmp_path / "linked")
    (folder / "labels").symlink_to("/etc/passwd")
    outcome = run(small_pack(tmp_path), folder)
    assert isinstance(outcome, SubmissionFailed)
    assert "labels" in outcome.detail


def test_a_cancelled_run_stops_within_a_second_and_leaves_nothing(tmp_path: Path) -> None:
    stop, seen = threading.Event(), []

    def on_progress(step: Progress) -> None:
        seen.append(step)
        if step.stage == "attacking":
            stop.set()

    request = Request(pack=small_pack(tmp_path), submission=python_submission(tmp_path / "s"), seed=SEED)
    with pytest.raises(Cancelled):
        run_defense(request, sandbox=open_sandbox("auto"), listener=Listener(on_progress, cancelled=stop.is_set))
    assert seen[-1].stage == "attacking"
