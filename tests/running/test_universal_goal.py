"""One perturbation for all images: found on others, handed in as one array, scored on those that rank."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from packs import BASELINE
from torch import nn

from arena.running.arrays import check_array
from arena.running.attack import run_attack
from arena.running.requests import AttackRequest
from evaluator.attacks.universal import Universal
from evaluator.data.tensors import Examples, examples
from evaluator.errors import InputError
from evaluator.host.load import load_submission
from evaluator.judging import Defense, evaluate
from evaluator.judging.goals import OneForAll, build_goal
from evaluator.manifests.challenge_packs import load_pack
from evaluator.manifests.data_specs import DataSpec
from evaluator.manifests.spec import Challenge, Pack, parse_toml
from evaluator.records.cell_report import CellCompleted
from evaluator.threats import Linf
from sandbox.choose import open_sandbox

COUNT, OTHERS = 8, 12
PACK = (
    f'title = "One for all"\n[data]\ndataset = "mnist"\nexamples = {COUNT}\n[threat]\nkind = "linf"\nepsilon = 0.3\n'
    f'[goal]\nkind = "universal"\nimages = {OTHERS}\n'
)
CODE = """
from evaluator.attacks.universal import Universal
from evaluator.attacks.base import Batch
from evaluator.draws import Draws
import torch

def attack(model, x, y, threat, budget):
    assert len(x) == 12
    batch = Batch(x, y, Draws(0, torch.arange(len(x))))
    return Universal(passes=15, restarts=1).perturbation(model, batch, threat)
"""


def pack(folder: Path) -> Pack:
    made = folder / "one-for-all"
    made.mkdir()
    (made / "challenge.toml").write_text(f"{PACK}[limits]\nmemory_mb = 3072\n")
    return load_pack(made)


def ranked() -> Examples:
    return examples(DataSpec(dataset="mnist", examples=COUNT))


def network() -> nn.Module:
    return load_submission(BASELINE).eval().requires_grad_(False)


def array(folder: Path, v: torch.Tensor) -> Path:
    folder.mkdir()
    (folder / "attack.toml").write_text('name = "One"\nformat = "array"\ntarget = "any"\narray = "v.npy"\n')
    np.save(folder / "v.npy", v.numpy())
    return folder


def played(made: Pack, attack: Path) -> CellCompleted:
    request = AttackRequest(made, attack, BASELINE, 5)
    outcome = run_attack(request, sandbox=open_sandbox("auto"))
    assert isinstance(outcome, CellCompleted), outcome
    return outcome


def test_the_official_search_never_attacks_an_image_that_ranks() -> None:
    goal = build_goal(parse_toml(PACK.encode(), Challenge, where="x").goal, DataSpec(dataset="mnist", examples=COUNT))
    assert isinstance(goal, OneForAll)
    assert goal.finding.ids.tolist() == list(range(COUNT, COUNT + OTHERS))
    part, threat = ranked(), Linf(0.3)
    search = goal.search(parse_toml(PACK.encode(), Challenge, where="x"), threat)
    verdict = evaluate(Defense.of(network()), part, threat, search, seed=0, goal=goal)
    assert int(verdict.robust.sum()) < COUNT
    moves = verdict.points - part.x
    free = (verdict.points > 0) & (verdict.points < 1)
    for pixel in free.flatten(1).T.nonzero()[:50, 0].unique().tolist():
        values = moves.flatten(1)[:, pixel][free.flatten(1)[:, pixel]]
        assert torch.allclose(values, values[:1].expand_as(values), atol=1e-6), "every image got the same perturbation"
    halves = [
        evaluate(Defense.of(network()), part[some], threat, search, seed=0, goal=goal).robust
        for some in (slice(0, 3), slice(3, COUNT))
    ]
    assert torch.equal(torch.cat(halves), verdict.robust), "every shard finds the same perturbation"


def test_an_attack_hands_in_one_perturbation_as_an_array_or_from_code(tmp_path: Path) -> None:
    made = pack(tmp_path)
    part, threat = ranked(), Linf(0.3)
    others = OneForAll(made.challenge.data, OTHERS).finding
    v = Universal(passes=15, restarts=1)(network(), others.x, others.y, threat)[:1]
    v = (v - others.x[:1]).clamp(-0.3, 0.3)
    report = played(made, array(tmp_path / "array", v)).report
    expected = network()((part.x + v).clamp(0, 1)).argmax(dim=1) == part.y
    assert report.robust_bits == expected.int().tolist()
    assert report.violations == []
    code = tmp_path / "code"
    code.mkdir()
    (code / "attack.toml").write_text('name = "Code"\nformat = "python"\nentry = "attack.py"\n')
    (code / "attack.py").write_text(CODE)
    report = played(made, code).report
    assert report.violations == []
    assert 0 <= sum(report.robust_bits) < COUNT


def test_a_perturbation_that_is_too_large_counts_for_no_image(tmp_path: Path) -> None:
    made = pack(tmp_path)
    large = torch.full((1, 1, 28, 28), 0.31)
    kinds = {each.kind: each.count for each in check_array(made, array(tmp_path / "array", large))}
    assert kinds["budget"] == COUNT


def test_a_universal_board_needs_a_dense_ball_and_other_images() -> None:
    with pytest.raises(InputError, match=r"goal\.kind"):
        parse_toml(PACK.replace('"linf"\nepsilon = 0.3', '"l0"\nepsilon = 3').encode(), Challenge, where="x")
    with pytest.raises(InputError, match=r"goal\.images"):
        parse_toml(PACK.replace(f"examples = {COUNT}", "examples = 10000").encode(), Challenge, where="x")
