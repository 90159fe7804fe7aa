"""Boards with targets in the real sandbox: defenses, code that gets the target, arrays, replays and the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from packs import BASELINE
from typer.testing import CliRunner

from arena.cli.main import app
from arena.running.attack import replay_inputs, run_attack
from arena.running.defense import run_defense
from arena.running.requests import AttackRequest, Request
from evaluator.data import examples
from evaluator.defenses.architectures import load_weights
from evaluator.manifests.challenge_packs import load_pack
from evaluator.manifests.spec import Pack
from evaluator.records import receipt
from evaluator.records.cell_report import CellCompleted, CellReport
from evaluator.records.report import Completed
from evaluator.threats import Linf
from sandbox.choose import open_sandbox

SEED, COUNT, EPSILON = 20261201, 6, 0.15
TARGETED = """
from evaluator.attacks import PGD

def attack(model, x, y, threat, budget, target):
    assert target.shape == y.shape and not bool((target == y).any())
    return PGD(steps=15, loss="margin")(model, x, y, threat, target=target)
"""


def pack(folder: Path, goal: str, *, rows: int = 20_000) -> Pack:
    folder = folder / "targeted-mnist"
    folder.mkdir()
    (folder / "challenge.toml").write_text(
        f'title = "Targets"\n[data]\ndataset = "mnist"\nexamples = {COUNT}\n[threat]\nkind = "linf"\nepsilon = {EPSILON}\n'
        f'[goal]\nkind = "targeted"\ntarget = {goal}\n[access]\nrows_per_example = {rows}\n'
        '[evaluation]\nensemble = "short"\nshard_examples = 6\n[limits]\nmemory_mb = 3072\n'
    )
    return load_pack(folder)


def code(folder: Path, text: str = TARGETED) -> Path:
    folder.mkdir()
    (folder / "attack.toml").write_text('name = "To the target"\nformat = "python"\nentry = "attack.py"\n')
    (folder / "attack.py").write_text(text)
    return folder


def play(made: Pack, attack: Path) -> CellCompleted:
    outcome = run_attack(AttackRequest(made, attack, BASELINE, SEED), sandbox=open_sandbox("auto"))
    assert isinstance(outcome, CellCompleted), outcome
    return outcome


def reached(report: CellReport, made: Pack) -> list[bool]:
    return [label == target for label, target in zip(report.read_as, report.targets, strict=True)]


def test_code_is_told_the_target_and_only_reaching_it_counts_also_in_a_replay(tmp_path: Path) -> None:
    made = pack(tmp_path, '"random"')
    cell = play(made, code(tmp_path / "attack"))
    report = cell.report
    broken = [not bit for bit in report.robust_bits]
    assert 0 < sum(broken) < COUNT
    assert reached(report, made) == broken
    assert len(report.targets) == len(report.unbroken_bits) == COUNT
    assert report.attackable == [1] * COUNT
    again = replay_inputs(made, BASELINE, cell.adversarial, sandbox=open_sandbox("auto"), seed=1)
    assert isinstance(again, CellCompleted)
    assert again.report.robust_bits == report.robust_bits
    assert again.report.targets == report.targets


def test_every_class_in_turn_calls_the_code_again_with_what_rows_are_left(tmp_path: Path) -> None:
    made = pack(tmp_path, '"each"', rows=120)
    told = """
from evaluator.attacks import PGD

def attack(model, x, y, threat, budget, target):
    step = (target - y) % 10
    print("turn", sorted(set(step.tolist())), len(x), budget.rows)
    if int(step[0]) > 2:
        return x
    return PGD(steps=2, loss="margin")(model, x, y, threat, target=target)
"""
    report = play(made, code(tmp_path / "attack", told)).report
    assert report.targets == []
    assert report.budget_rows == 120 * COUNT
    assert 0 < report.forward_rows + 2 * report.backward_rows <= report.budget_rows
    assert report.forward_rows > 3 * COUNT, "one call alone asks for three rows of each image"


def test_an_array_counts_where_it_reaches_its_target(tmp_path: Path) -> None:
    made = pack(tmp_path, "3")
    part = examples(made.challenge.data)
    net = load_weights("mnist-cnn", BASELINE / "weights.safetensors").eval()
    from evaluator.attacks import PGD

    target = torch.full_like(part.y, 3)
    points = PGD(steps=20, loss="margin")(net, part.x, part.y, Linf(EPSILON), target=target)
    folder = tmp_path / "array"
    folder.mkdir()
    (folder / "attack.toml").write_text('name = "A"\nformat = "array"\ntarget = "any"\narray = "a.npy"\n')
    np.save(folder / "a.npy", points.numpy())
    report = play(made, folder).report
    labels = net(points).argmax(dim=1)
    assert [bool(bit) for bit in report.robust_bits] == (labels != 3).tolist()
    assert 0 < sum(report.robust_bits) < COUNT


def test_an_official_evaluation_with_targets_is_reproduced_from_its_seed(tmp_path: Path) -> None:
    made = pack(tmp_path, '"least-likely"')
    whole = run_defense(Request(made, BASELINE, SEED), sandbox=open_sandbox("auto"))
    assert isinstance(whole, Completed), whole
    assert len(whole.report.targets) == len(whole.report.unbroken_bits) == COUNT
    again = run_defense(Request(made, BASELINE, SEED), sandbox=open_sandbox("auto"))
    assert isinstance(again, Completed)
    assert receipt.compare(whole.report, again.report) == []


def test_the_command_line_runs_an_attack_with_a_target(tmp_path: Path) -> None:
    made = pack(tmp_path, '"random"')
    assert made.folder is not None
    saved = tmp_path / "found.npz"
    words = ["attack", "pgd", "--against", "mnist-standard", "--pack", str(made.folder), "--examples", "3", "--target", "8"]
    done = CliRunner().invoke(app, [*words, "-o", "loss=margin", "--save", str(saved)])
    assert done.exit_code == 0, done.output
    assert "target not reached" in done.output
    with np.load(saved) as found:
        net = load_weights("mnist-cnn", BASELINE / "weights.safetensors").eval()
        labels = net(torch.from_numpy(found["x_adv"][found["broken"]])).argmax(dim=1)
    assert bool((labels == 8).all())
    refused = CliRunner().invoke(app, [*words[:-1], "cat"])
    assert refused.exit_code != 0
    assert "goal.target" in str(refused.exception) + refused.output
    impossible = CliRunner().invoke(app, ["attack", "hopskipjump", *words[2:]])
    assert "no targeted form" in str(impossible.exception) + impossible.output
