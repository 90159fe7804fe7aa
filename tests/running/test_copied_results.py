"""Results of real attacks on a real defense: what is recognised as a copy once it was stored, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from packs import BASELINE
from test_attack_runs import COUNT, EPSILON, array, completed, make_pack, play
from torch import Tensor

from arena.running.likeness import same_results
from evaluator.attacks import PGD
from evaluator.data import examples
from evaluator.defenses.architectures import load_weights
from evaluator.manifests.spec import Pack
from evaluator.records.adversarial_archive import AdversarialArchive
from evaluator.threats import Linf

THREAT = Linf(EPSILON)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return make_pack(tmp_path_factory.mktemp("pack"))


def test_copies_are_recognised_and_another_seed_or_a_larger_move_is_not(pack: Pack, tmp_path: Path) -> None:
    ranked = examples(pack.challenge.data)
    network = load_weights("mnist-cnn", BASELINE / "weights.safetensors").eval().requires_grad_(False)

    def pgd(seed: int) -> Tensor:
        return PGD(steps=20, random_start=True)(network, ranked.x, ranked.y, THREAT, seed=seed)

    first = pgd(0)
    signs = torch.randn(first.shape, generator=torch.Generator().manual_seed(1)).sign()
    entered = {
        "itself": first,
        "rounded to a file": (first * 255).round() / 255,
        "moved by a twelfth": first + signs * EPSILON / 12,
        "moved by a quarter": first + signs * EPSILON / 4,
        "another seed": pgd(1),
    }
    found = {
        name: completed(play(pack, array(tmp_path / name, THREAT.project(ranked.x, points).numpy()))).adversarial
        for name, points in entered.items()
    }
    broken = {name: set(AdversarialArchive.from_bytes(data).ids.tolist()) for name, data in found.items()}
    assert len(broken["itself"]) > COUNT / 2
    same = dict(zip(found, map(set, same_results(pack, found["itself"], list(found.values()))), strict=True))
    for name in ("itself", "rounded to a file", "moved by a twelfth"):
        assert same[name] == broken["itself"] & broken[name], name
    assert same["moved by a quarter"] == set(), "as the documents say"
    assert same["another seed"] == set(), "another run of the same code is no copy by its results"
