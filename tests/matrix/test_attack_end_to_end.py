"""Attacks from upload to rank, with the real runner in the real sandbox on a few MNIST images."""

from __future__ import annotations

import io
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from django.core.files.base import ContentFile
from packs import BASELINE, small_pack

from arena.accounts.models import User
from arena.challenges.models import Challenge
from arena.challenges.services import publish
from arena.evaluations.models import Evaluation
from arena.jobs.worker import look_forever, work_forever
from arena.leaderboards.queries import board, history
from arena.matrix.models import Cell, Fall, FirstLook
from arena.submissions.models import Submission
from arena.submissions.packing import pack_folder
from arena.submissions.services import submit
from evaluator.attacks import PGD
from evaluator.data import examples
from evaluator.defenses.architectures import load_weights
from evaluator.manifests.spec import Pack
from evaluator.threats import Linf
from tests.web.backend_support import FakeJudge, current, person, team_of, work_once, zipped

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
SECONDS = 100

PGD_CODE = """
import torch

def attack(model, x, y, threat, budget):
    point = x.clone()
    for _ in range(8):
        point.requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(model(point), y)
        point = threat.project(x, (point + 0.03 * torch.autograd.grad(loss, point)[0].sign()).detach())
    return point
"""


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    return small_pack(tmp_path, examples=12, shard=12)


@pytest.fixture
def challenge(pack: Pack) -> Challenge:
    return publish(pack=pack).challenge


def defend(challenge: Challenge, user: User, folder: Path, name: str, *, noise: float = 0.0) -> Submission:
    """The standard baseline's weights, moved a little, with a verdict that leaves everything standing."""
    shutil.copytree(BASELINE, folder)
    (folder / "defense.toml").write_text(
        f'name = "{name}"\nformat = "safetensors"\narchitecture = "mnist-cnn"\nweights = "weights.safetensors"\n'
    )
    if noise:
        from safetensors.torch import load_file, save_file

        weights, draw = load_file(folder / "weights.safetensors"), torch.Generator().manual_seed(3)
        moved = {key: value + noise * torch.randn(value.shape, generator=draw) for key, value in weights.items()}
        save_file(moved, folder / "weights.safetensors")
    archive = ContentFile(pack_folder(folder), name="defense.zip")
    entered = submit(user=user, team=team_of(user), challenge=challenge, archive=archive)
    while work_once(judge=FakeJudge(share=1.0)):
        pass
    return entered


def enter_attack(challenge: Challenge, user: User, files: dict[str, bytes | str]) -> Submission:
    return submit(user=user, team=team_of(user), challenge=challenge, archive=ContentFile(zipped(files), name="attack.zip"))


def array_of(points: torch.Tensor, target: str) -> dict[str, bytes | str]:
    buffer = io.BytesIO()
    np.save(buffer, points.numpy())
    manifest = f'name = "An array"\nformat = "array"\ntarget = "{target}"\narray = "adversarial.npy"\n'
    return {"attack.toml": manifest, "adversarial.npy": buffer.getvalue()}


def work_until(done: object) -> None:
    """Runs the real worker, and the look at uploads beside it, until `done()`."""
    stop = threading.Event()
    threads = [threading.Thread(target=work, args=[stop]) for work in (work_forever, look_forever)]
    for thread in threads:
        thread.start()
    try:
        until = time.monotonic() + SECONDS
        while not done():  # type: ignore[operator]
            assert time.monotonic() < until, list(Cell.objects.values_list("state", "reason", "detail"))
            time.sleep(0.1)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def all_played(cells: int) -> bool:
    return Cell.objects.exclude(state__in=Cell.UNFINISHED).count() == cells


def test_an_uploaded_array_makes_its_target_fall_and_moves_its_rank(challenge: Challenge, pack: Pack, tmp_path: Path) -> None:
    alice, bob = person("alice"), person("bob")
    one = defend(challenge, alice, tmp_path / "one", "One")
    two = defend(challenge, alice, tmp_path / "two", "Two", noise=0.1)
    Evaluation.objects.filter(submission=one).update(clean_accuracy=1.0)
    Evaluation.objects.filter(submission=two).update(clean_accuracy=0.9)
    assert [row.name for row in board(challenge).ranked] == ["One", "Two"]
    part = examples(pack.challenge.data)
    net = load_weights("mnist-cnn", BASELINE / "weights.safetensors").eval()
    points = PGD(steps=10, loss="margin")(net, part.x, part.y, Linf(0.08))
    points[4] = 1 - points[4]
    mine = enter_attack(challenge, bob, array_of(points, "One"))
    work_until(lambda: all_played(2))
    trial = FirstLook.objects.get(submission=mine)
    assert trial.verdict == "accepted"
    assert [(each["kind"], each["ids"]) for each in trial.violations] == [("budget", [4])]
    fooled = (net(points).argmax(dim=1) != part.y) & (net(part.x).argmax(dim=1) == part.y)
    fooled[4] = False
    fall = Fall.objects.get(defense=one)
    assert (fall.attack, fall.before, fall.fallen) == (mine, 12, int(fooled.sum()))
    assert fall.fallen > 0
    assert current(one).robust_accuracy == fall.after / 12
    assert history(one)[-1].cause == "by An array"
    told = Cell.objects.get(defense=one, attack=mine).report["read_as"]  # type: ignore[index]
    assert told == {str(n): int(net(points)[n].argmax()) for n in fooled.nonzero().flatten().tolist()[:8]}
    assert board(challenge).ranked[0].name == "Two", "what breaks one net breaks a moved copy less"


def test_attack_code_plays_two_defenses_and_a_later_one_faces_its_stored_inputs_first(
    challenge: Challenge, tmp_path: Path
) -> None:
    alice, bob = person("alice"), person("bob")
    defend(challenge, alice, tmp_path / "one", "One")
    defend(challenge, alice, tmp_path / "two", "Two", noise=0.02)
    manifest = 'name = "Small PGD"\nformat = "python"\nentry = "attack.py"\n'
    mine = enter_attack(challenge, bob, {"attack.toml": manifest, "attack.py": PGD_CODE})
    work_until(lambda: all_played(2))
    cells = list(Cell.objects.filter(attack=mine))
    assert [cell.state for cell in cells] == ["completed"] * 2, [(cell.reason, cell.detail) for cell in cells]
    assert all(cell.broken and cell.backward_rows == 8 * 12 and cell.archive for cell in cells)
    assert {fall.fallen for fall in Fall.objects.all()} == {cell.broken for cell in cells}
    later = defend(challenge, alice, tmp_path / "three", "Three", noise=0.005)
    work_until(lambda: all_played(4))
    replay = Cell.objects.get(defense=later, kind="replay")
    assert replay.state == "completed"
    assert replay.broken
    assert Fall.objects.filter(defense=later).earliest("at").cell == replay


def test_code_that_returns_nonsense_is_refused_by_the_first_look(challenge: Challenge, tmp_path: Path) -> None:
    defend(challenge, person("alice"), tmp_path / "one", "One")
    code = "def attack(model, x, y, threat, budget):\n    return x.flatten(1)\n"
    manifest = 'name = "Flat"\nformat = "python"\nentry = "attack.py"\n'
    mine = enter_attack(challenge, person("bob"), {"attack.toml": manifest, "attack.py": code})
    begun = time.monotonic()
    work_until(lambda: FirstLook.objects.get(submission=mine).verdict)
    trial = FirstLook.objects.get(submission=mine)
    assert (trial.verdict, trial.reason) == ("refused", "shape")
    assert "(5, 1, 28, 28)" in trial.detail or "(5, 784)" in trial.detail
    assert time.monotonic() - begun < 60
    assert not Cell.objects.exists()
