"""The stored inputs of a real search on a small net, replayed on a net that is nearly its twin and on one that is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from django.core.files.base import ContentFile
from django.test import Client
from packs import BASELINE, python_submission, small_pack
from safetensors.torch import load_file, save_file

from arena.accounts.models import User
from arena.challenges.models import Challenge
from arena.challenges.services import publish
from arena.jobs.models import Shard
from arena.jobs.runner import Runner
from arena.matrix import adversarial
from arena.matrix.models import Archive, Cell, Fall, Survival
from arena.running.attack import replay_inputs
from arena.submissions.models import Submission
from arena.submissions.packing import pack_folder
from arena.submissions.services import submit
from arena.web.images import images_of
from evaluator.data import examples
from evaluator.defenses.architectures import load_weights
from evaluator.judging.compaction import expand
from evaluator.manifests.spec import EvaluationSpec, Pack
from evaluator.records.adversarial_archive import AdversarialArchive
from evaluator.records.cell_report import CellCompleted
from evaluator.threats import build
from sandbox import open_sandbox
from tests.web.backend_support import current, person, team_of, work_once
from tests.web.matrix_support import play_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    manifest = small_pack(tmp_path, examples=16, shard=8)
    short = EvaluationSpec(ensemble="short", shard_examples=8)
    return manifest.model_copy(update={"challenge": manifest.challenge.model_copy(update={"evaluation": short})})


@pytest.fixture
def challenge(pack: Pack) -> Challenge:
    return publish(pack=pack).challenge


def enter(challenge: Challenge, user: User, folder: Path, name: str, *, noise: float = 0.0) -> Submission:
    """The standard baseline's weights, moved a little."""
    shutil.copytree(BASELINE, folder)
    (folder / "defense.toml").write_text(
        f'name = "{name}"\nformat = "safetensors"\narchitecture = "mnist-cnn"\nweights = "weights.safetensors"\n'
    )
    weights, draw = load_file(folder / "weights.safetensors"), torch.Generator().manual_seed(3)
    save_file(
        {key: value + noise * torch.randn(value.shape, generator=draw) for key, value in weights.items()},
        folder / "weights.safetensors",
    )
    archive = ContentFile(pack_folder(folder), name="defense.zip")
    return submit(user=user, team=team_of(user), challenge=challenge, archive=archive)


def finish() -> None:
    """Judges and plays until nothing waits."""
    while work_once(judge=Runner()) or play_once():
        pass


def test_the_twin_of_a_broken_defense_falls_by_replay_before_its_own_search(
    challenge: Challenge, pack: Pack, tmp_path: Path
) -> None:
    first = enter(challenge, person("alice"), tmp_path / "first", "First")
    finish()
    survival = Survival.objects.get(evaluation=current(first))
    assert survival.archive
    stored, data = AdversarialArchive.from_bytes(adversarial.read(survival.archive)), examples(pack.challenge.data)
    report = current(first).report or {}
    assert sorted(stored.ids.tolist()) == [number for number in report["ids"] if report["broken_by"][number] >= 0]
    assert len(stored) >= 6
    threat, net = build(pack.challenge.threat), load_weights("mnist-cnn", BASELINE / "weights.safetensors").eval()
    points, held = expand(stored, data, threat)
    assert bool(threat.contains(data.x, points).all())
    assert bool((net(points[held]).argmax(dim=1) != data.y[held]).all()), "what is stored breaks it, exactly as stored"

    twin = enter(challenge, person("bob"), tmp_path / "twin", "Twin", noise=0.002)
    assert work_once(judge=Runner())
    assert Shard.objects.filter(trial=current(twin), lease_number__gt=0).count() == 0, "its own search has not begun"
    fall = Fall.objects.get(defense=twin)
    assert (fall.attack, fall.cell.kind) == (first, "transfer")
    assert fall.fallen >= len(stored) - 2, "nearly all of what broke one breaks the other"
    finish()
    assert (current(twin).robust_accuracy or 0.0) <= fall.after / 16


COIN = """
from pathlib import Path

import torch
from evaluator.defenses.architectures import load_weights


class Coin(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        logits = self.net(x)
        wrong = torch.rand(len(x), 1) < 0.3
        return torch.where(wrong, logits.roll(1, dims=1), logits)


def load(directory):
    return Coin(load_weights("mnist-cnn", Path(directory) / "weights.safetensors"))
"""


def test_a_random_defense_does_not_fall_to_a_replay_by_chance(pack: Pack, tmp_path: Path) -> None:
    folder = python_submission(tmp_path / "coin", COIN)
    with (folder / "defense.toml").open("a") as manifest:
        manifest.write("randomized = true\nvotes = 64\n")
    data = examples(pack.challenge.data)
    harmless = AdversarialArchive(
        ids=data.ids.numpy(),
        form=np.zeros(len(data), dtype=np.uint8),
        scale=np.full(len(data), 0.001),
        steps=np.full(data.x.shape, 127, dtype=np.int8),
        halves=np.zeros((0, *data.x.shape[1:]), dtype=np.float16),
        points=np.zeros((0, *data.x.shape[1:]), dtype=np.float32),
    )
    outcome = replay_inputs(pack, folder, harmless.to_bytes(), sandbox=open_sandbox("auto"), seed=1)
    assert isinstance(outcome, CellCompleted), outcome
    assert outcome.report.correct_bits == outcome.report.robust_bits == [1] * len(data), "three answers in ten are wrong"
    assert outcome.report.verified


def test_what_breaks_one_net_is_tried_on_a_standing_one_too_and_shown_with_its_pictures(
    challenge: Challenge, pack: Pack, tmp_path: Path
) -> None:
    alice = person("alice")
    first = enter(challenge, alice, tmp_path / "first", "First")
    finish()
    other = enter(challenge, alice, tmp_path / "other", "Other", noise=0.03)
    finish()
    entry = Client().get(f"/entries/{first.public_id}/").content.decode()
    own = AdversarialArchive.from_bytes(adversarial.read(Archive.objects.get(survivals__evaluation=current(first))))
    drawn = f"/entries/{first.public_id}/images/{min(own.ids)}/adversarial.png"
    assert "Found by the official ensemble." in entry
    assert f'src="{drawn}"' in entry
    assert Client().get(drawn)["Content-Type"] == "image/png"
    assert {cell.state for cell in Cell.objects.all()} == {"completed"}
    shown = Cell.objects.exclude(broken=0).filter(defense=other).get()
    assert images_of(pack.challenge.data) is not None
    page = Client().get(f"/cells/{shown.public_id}/").content.decode()
    assert "Of the inputs that broke this defense too" in page
    first_broken = int(np.unpackbits(np.frombuffer(bytes(shown.breaks or b""), dtype=np.uint8)).argmax())
    assert Client().get(f"/cells/{shown.public_id}/{first_broken}/adversarial.png").status_code == 200
