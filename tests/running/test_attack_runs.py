"""The attack runner in the real sandbox: third-party attacks run unmodified, a hostile one gets a typed outcome and no more."""

from __future__ import annotations

import importlib.util
import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from packs import BASELINE, python_submission

from arena.running.attack import AttackRequest, merge, replay_inputs, run_attack, smoke
from arena.running.listening import Listener
from evaluator.attacks import PGD
from evaluator.data import examples
from evaluator.defenses.architectures import load_weights
from evaluator.errors import Cancelled
from evaluator.judging.compaction import expand
from evaluator.manifests.challenge_packs import load_pack
from evaluator.manifests.spec import Pack
from evaluator.models.meter import Meter, MeteredModel
from evaluator.records.adversarial_archive import AdversarialArchive
from evaluator.records.cell_report import CellCompleted, CellOutcome, DefenseFailed
from evaluator.records.report import PlatformFailed, Progress, SubmissionFailed
from evaluator.threats import Linf
from sandbox.choose import open_sandbox

SEED = 20261121
COUNT, EPSILON = 12, 0.08


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return make_pack(tmp_path_factory.mktemp("pack"))


def make_pack(folder: Path, *, access: str = "", limits: str = "", shard: int = COUNT) -> Pack:
    """A pack on the first MNIST test images."""
    folder = folder / "attack-mnist"
    folder.mkdir(parents=True)
    (folder / "challenge.toml").write_text(
        f'title = "Attack MNIST"\n[data]\ndataset = "mnist"\nexamples = {COUNT}\n[threat]\nkind = "linf"\nepsilon = {EPSILON}\n'
        f"[access]\n{access}\n[evaluation]\nshard_examples = {shard}\n[limits]\nmemory_mb = 3072\n{limits}\n"
    )
    return load_pack(folder)


def attack(folder: Path, code: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "attack.toml").write_text('name = "An attack"\nformat = "python"\nentry = "attack.py"\n')
    (folder / "attack.py").write_text(code)
    return folder


def array(folder: Path, points: object) -> Path:
    folder.mkdir(parents=True)
    manifest = 'name = "An array"\nformat = "array"\ntarget = "standard"\narray = "adversarial.npy"\n'
    (folder / "attack.toml").write_text(manifest)
    np.save(folder / "adversarial.npy", np.asarray(points))
    return folder


def play(pack: Pack, folder: Path, defense: Path = BASELINE, **options: object) -> CellOutcome:
    request = AttackRequest(pack=pack, attack=folder, defense=defense, seed=SEED, **options)  # type: ignore[arg-type]
    return run_attack(request, sandbox=open_sandbox("auto"))


def completed(outcome: CellOutcome) -> CellCompleted:
    assert isinstance(outcome, CellCompleted), outcome
    return outcome


def failed(outcome: CellOutcome) -> SubmissionFailed:
    assert isinstance(outcome, SubmissionFailed), outcome
    assert not isinstance(outcome, DefenseFailed), outcome
    return outcome


HONEST = """
from evaluator.attacks import PGD

def attack(model, x, y, threat, budget):
    return PGD(steps=10, loss="margin")(model, x, y, threat)
"""


def test_an_honest_attack_breaks_what_it_breaks_in_process_and_its_inputs_replay(pack: Pack, tmp_path: Path) -> None:
    seen: list[Progress] = []
    folder = attack(tmp_path / "pgd", HONEST)
    request = AttackRequest(pack=pack, attack=folder, defense=BASELINE, seed=SEED)
    cell = completed(run_attack(request, sandbox=open_sandbox("auto"), listener=Listener(seen.append)))
    part, meter = examples(pack.challenge.data), Meter()
    net = load_weights("mnist-cnn", BASELINE / "weights.safetensors").eval()
    points = PGD(steps=10, loss="margin")(MeteredModel(net, meter, classes=10), part.x, part.y, Linf(EPSILON))
    robust = (net(points).argmax(dim=1) == part.y).int().tolist()
    report = cell.report
    assert report.robust_bits == robust
    assert 0 < sum(robust) < sum(report.correct_bits)
    assert (report.forward_rows, report.backward_rows) == (meter.forward_rows, meter.backward_rows)
    assert report.budget_rows == COUNT * 20_000
    assert [distance is None for distance in report.distances] == [bool(bit) for bit in robust]
    assert all(distance <= EPSILON + 1e-6 for distance in report.distances if distance is not None)
    assert report.verified
    assert report.environment.sandbox
    assert [step.stage for step in seen if step.stage != "starting"][-1] == "verifying"
    stored = AdversarialArchive.from_bytes(cell.adversarial)
    rebuilt, there = expand(stored, part, Linf(EPSILON))
    assert there.int().tolist() == [1 - bit for bit in robust]
    assert bool((net(rebuilt[there]).argmax(dim=1) != part.y[there]).all())
    again = completed(replay_inputs(pack, BASELINE, cell.adversarial, sandbox=open_sandbox("auto"), seed=1))
    assert again.report.robust_bits == robust
    assert again.report.forward_rows == 0
    assert again.adversarial == cell.adversarial


TORCHATTACKS = """
import torchattacks

def attack(model, x, y, threat, budget):
    return torchattacks.PGD(model, eps=threat.epsilon, alpha=threat.epsilon / 4, steps=10)(x, y)
"""
FOOLBOX = """
import foolbox

def attack(model, x, y, threat, budget):
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1))
    _, clipped, _ = foolbox.attacks.LinfPGD(rel_stepsize=0.25, steps=10)(wrapped, x, y, epsilons=threat.epsilon)
    return clipped
"""
PYAUTOATTACK = """
from pyautoattack import AutoAttack

def attack(model, x, y, threat, budget):
    adversary = AutoAttack(model, eps=threat.epsilon, version="custom", attacks=["apgd-ce", "fab-t", "square"], seed=0)
    adversary.square.n_queries, adversary.apgd.n_iter, adversary.fab.n_iter, adversary.fab.n_target_classes = 20, 10, 3, 2
    return adversary.run_standard_evaluation(x, y)[0]
"""


def bring_along(folder: Path, *packages: str) -> None:
    """Copies installed packages into the submission, as `pip install --no-deps --target` puts them there."""
    for package in packages:
        spec = importlib.util.find_spec(package)
        assert spec is not None, f"{package} is missing: make setup"
        assert spec.origin is not None
        shutil.copytree(Path(spec.origin).parent, folder / package, ignore=shutil.ignore_patterns("__pycache__", "examples"))


@pytest.mark.parametrize(
    ("code", "packages"),
    [
        (TORCHATTACKS, ("torchattacks",)),
        (FOOLBOX, ("foolbox", "eagerpy", "git", "gitdb", "smmap")),
        (PYAUTOATTACK, ("pyautoattack",)),
    ],
    ids=["torchattacks", "foolbox", "pyautoattack"],
)
def test_third_party_attacks_run_unmodified(pack: Pack, tmp_path: Path, code: str, packages: tuple[str, ...]) -> None:
    folder = attack(tmp_path / "third", code)
    bring_along(folder, *packages)
    report = completed(play(pack, folder)).report
    assert report.violations == []
    assert 0 < sum(report.robust_bits) < sum(report.correct_bits)
    assert report.backward_rows > 0


NOISY = """
def attack(model, x, y, threat, budget):
    model(x)
    return threat.project(x, x.new_empty(x.shape).uniform_())
"""


def test_pieces_of_a_whole_run_equal_shards_run_apart(tmp_path: Path) -> None:
    pack = make_pack(tmp_path, shard=6)
    folder = attack(tmp_path / "noise", NOISY)
    whole = completed(play(pack, folder, budget_rows=24))
    shards = [play(pack, folder, shard=(first, first + 6), budget_rows=12) for first in (0, 6)]
    joined = completed(merge(shards))
    same = {"seconds": 0.0}
    assert joined.report.model_copy(update=same) == whole.report.model_copy(update=same)
    assert joined.adversarial == whole.adversarial
    assert whole.report.forward_rows == COUNT


HOSTILE = """
import os, socket, sys, time
import torch

ATTEMPTS = {}

def attempt(name):
    def record(action):
        try:
            ATTEMPTS[name] = "SUCCEEDED: " + repr(action())[:200]
        except BaseException as error:
            ATTEMPTS[name] = "blocked: " + type(error).__name__
    return record

attempt("kill the parent")(lambda: [os.kill(pid, 9) for pid in range(1, 400) if pid != os.getpid()])

def attack(model, x, y, threat, budget):
    here = os.path.dirname(__file__)
    attempt("shadow")(lambda: open("/etc/shadow").read())
    attempt("root")(lambda: os.listdir("/root"))
    attempt("socket")(lambda: socket.create_connection(("127.0.0.1", 80), timeout=2))
    attempt("its own folder")(lambda: open(here + "/attack.py", "ab").write(b"x"))
    attempt("the defense")(lambda: os.listdir("/submission"))
    attempt("staged files")(lambda: [f for f in os.listdir("/tmp") if f.startswith("redoubt")][0])
    attempt("labels")(lambda: __import__("evaluator.data").data.load("mnist", "test").labels[:3])
    print("ATTEMPTS", ATTEMPTS, flush=True)
    if os.fork() == 0:
        while True:
            time.sleep(1000)
    line = "z" * (1 << 20)
    for _ in range(1024):
        print(line)
    sys.stdout.flush()
    torch.Tensor.argmax = lambda self, *a, **k: torch.zeros(len(self), dtype=torch.int64)
    threat.__class__.contains = lambda *a, **k: True
    claim = x.clone()
    claim[0] = float("nan")
    claim[1] = -1.0
    claim[2] = 1.0 - x[2]
    claim[3:] = threat.project(x, x + 1)[3:]
    return claim
"""


def test_a_hostile_attack_reaches_nothing_and_its_false_claims_are_counted(pack: Pack, tmp_path: Path) -> None:
    folder = attack(tmp_path / "hostile", HOSTILE)
    before = (folder / "attack.py").read_bytes()
    logs: list[bytes] = []
    request = AttackRequest(pack=pack, attack=folder, defense=BASELINE, seed=SEED)
    report = completed(run_attack(request, sandbox=open_sandbox("auto"), listener=Listener(on_log=logs.append))).report
    said = logs[0].decode("utf-8", "replace")
    for name in ("shadow", "root", "socket", "its own folder", "the defense", "staged files", "labels"):
        assert f"'{name}': 'blocked" in said, said[:2000]
    assert len(logs[0]) < 200_000
    assert (folder / "attack.py").read_bytes() == before
    named = {violation.kind: violation.ids for violation in report.violations}
    assert named == {"non-finite": [0], "box": [1], "budget": [1, 2]}
    assert report.robust_bits[:3] == report.correct_bits[:3]
    assert report.forward_rows == 0


@pytest.mark.parametrize(
    ("body", "reason", "words"),
    [
        ("while True: model(x)", "budget", "are left; nothing was charged"),
        ("import time; time.sleep(1000)", "timeout", "within the 10 s"),
        ("bytearray(8 << 30); return x", "memory", "MiB this challenge allows"),
        ("import os; os._exit(7)", "died", "exit status 7"),
    ],
)
def test_an_attack_that_does_not_return_says_why(tmp_path: Path, body: str, reason: str, words: str) -> None:
    pack = make_pack(tmp_path, limits=f"seconds = {10 if reason == 'timeout' else 100}")
    begun = time.monotonic()
    code = f"def attack(model, x, y, threat, budget):\n    {body}\n"
    outcome = failed(play(pack, attack(tmp_path / "bad", code), budget_rows=50))
    assert outcome.reason == reason, outcome
    assert words in outcome.detail
    assert time.monotonic() - begun < 100


def test_whose_fault_it_was_is_kept_apart(pack: Pack, tmp_path: Path) -> None:
    good, bad = attack(tmp_path / "good", HONEST), attack(tmp_path / "bad", "def attak(): pass")
    broken = python_submission(tmp_path / "broken", "def load(directory):\n    raise KeyError('conv1')\n")
    assert "defines no attack(model, x, y, threat, budget)" in failed(play(pack, bad)).detail
    outcome = play(pack, good, broken)
    assert isinstance(outcome, DefenseFailed)
    assert "conv1" in outcome.detail
    (bad / "attack.toml").write_text("name = 3")
    assert failed(play(pack, bad)).reason == "manifest"
    (bad / "attack.toml").unlink()
    (bad / "attack.toml").symlink_to("/etc/passwd")
    assert "link" in failed(play(pack, bad)).detail


def test_a_python_defense_is_attacked_in_its_own_sandbox_with_the_same_verdict(pack: Pack, tmp_path: Path) -> None:
    folder = attack(tmp_path / "pgd", HONEST.replace("steps=10", "steps=2"))
    hosted, direct = completed(play(pack, folder, python_submission(tmp_path / "defense"))), completed(play(pack, folder))
    assert (hosted.report.environment.lane, direct.report.environment.lane) == ("host", "in-process")
    assert hosted.report.robust_bits == direct.report.robust_bits
    assert hosted.report.forward_rows == direct.report.forward_rows
    assert hosted.adversarial == direct.adversarial


def test_an_array_is_judged_like_any_claim_and_asks_nothing(pack: Pack, tmp_path: Path) -> None:
    part = examples(pack.challenge.data)
    net = load_weights("mnist-cnn", BASELINE / "weights.safetensors").eval()
    points = PGD(steps=10)(net, part.x, part.y, Linf(EPSILON))
    points[4] = 1 - points[4]
    report = completed(play(pack, array(tmp_path / "array", points))).report
    robust = net(points).argmax(dim=1) == part.y
    robust[4] = True
    assert report.robust_bits == robust.int().tolist()
    assert {violation.kind: violation.ids for violation in report.violations} == {"budget": [4]}
    assert (report.forward_rows, report.backward_rows, report.budget_rows) == (0, 0, None)
    assert report.environment.sandbox == "none"
    assert completed(play(pack, tmp_path / "array", shard=(3, 7))).report.robust_bits == report.robust_bits[3:7]
    few = completed(play(pack, tmp_path / "array", examples=2)).report
    assert few.ids == [0, 1]
    wrong = failed(play(pack, array(tmp_path / "short", points[:5])))
    assert wrong.reason == "shape"
    assert "(12, 1, 28, 28)" in wrong.detail


def test_a_broken_upload_is_reported_within_a_minute_on_five_examples(pack: Pack, tmp_path: Path) -> None:
    request = AttackRequest(pack=pack, attack=attack(tmp_path / "fine", HONEST), defense=BASELINE, seed=SEED)
    assert completed(smoke(request, sandbox=open_sandbox("auto"))).report.examples == 5
    wrong = attack(tmp_path / "wrong", "def attack(model, x, y, threat, budget):\n    return x.flatten(1)\n")
    request = AttackRequest(pack=pack, attack=wrong, defense=BASELINE, seed=SEED)
    report = completed(smoke(request, sandbox=open_sandbox("auto"))).report
    assert [(violation.kind, violation.count) for violation in report.violations] == [("shape", 5)]
    assert report.seconds < 40


def test_a_defense_that_answers_differently_after_many_questions_is_flagged(pack: Pack, tmp_path: Path) -> None:
    code = """
from pathlib import Path
import torch
from evaluator.defenses.architectures import load_weights

class Moody(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net, self.seen = net, 0
    def forward(self, x):
        self.seen += len(x)
        return self.net(x) if self.seen < 100 else -self.net(x)

def load(directory):
    return Moody(load_weights("mnist-cnn", Path(directory) / "weights.safetensors"))
"""
    many = (
        "def attack(model, x, y, threat, budget):\n    for _ in range(10): model(x)\n    return threat.project(x, x + 1e-4)\n"
    )
    cell = completed(play(pack, attack(tmp_path / "many", many), python_submission(tmp_path / "moody", code)))
    assert "clean-repeat" in [flag.check for flag in cell.report.flags]
    assert not cell.report.verified


def test_a_cancelled_run_stops_at_once(pack: Pack, tmp_path: Path) -> None:
    stop = threading.Event()

    def on_progress(step: Progress) -> None:
        if step.stage == "attacking":
            stop.set()

    folder = attack(tmp_path / "slow", "import time\ndef attack(*given):\n    time.sleep(1000)\n")
    request = AttackRequest(pack=pack, attack=folder, defense=BASELINE, seed=SEED)
    with pytest.raises(Cancelled):
        run_attack(request, sandbox=open_sandbox("auto"), listener=Listener(on_progress, cancelled=stop.is_set))


def test_stored_bytes_that_are_no_archive_are_the_platform_s_failure(pack: Pack) -> None:
    outcome = replay_inputs(pack, BASELINE, os.urandom(100), sandbox=open_sandbox("auto"), seed=1)
    assert isinstance(outcome, PlatformFailed)
    assert "archive" in outcome.detail
