"""Stored adversarial inputs are small, still break, and come back bit for bit as they were re-checked."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from attack_hosts import examples, net
from torch import Tensor

from evaluator.attacks import PGD
from evaluator.data.tensors import Examples
from evaluator.errors import InputError
from evaluator.judging.compaction import compact, expand
from evaluator.judging.verification import verify
from evaluator.records.adversarial_archive import HALVES, POINTS, STEPS, AdversarialArchive, join_archives
from evaluator.threats import L2, Linf, Spatial, Threat

PART = examples(40)


def adversarial(threat: Threat, part: Examples = PART) -> tuple[Tensor, Tensor]:
    points = PGD(steps=20, loss="margin")(net(), part.x, part.y, threat)
    return points, verify(net(), part, threat, points, torch.ones(len(part), dtype=torch.bool), 0).broken


def stored(threat: Threat, points: Tensor, broken: Tensor, part: Examples = PART) -> AdversarialArchive:
    return compact(part, threat, points, broken, lambda p, claimed: verify(net(), part, threat, p, claimed, 0).broken)


@pytest.mark.parametrize("threat", [Linf(0.2), L2(1.0), Spatial(0.3)], ids=lambda threat: threat.kind)
def test_what_is_read_back_breaks_and_lies_in_the_threat(threat: Threat) -> None:
    points, broken = adversarial(threat)
    assert 0 < int(broken.sum()) < len(PART), "the test needs both"
    archive = AdversarialArchive.from_bytes(stored(threat, points, broken).to_bytes())
    rebuilt, there = expand(archive, PART, threat)
    assert torch.equal(there, broken)
    assert torch.equal(verify(net(), PART, threat, rebuilt, there, 0).broken, broken)
    assert torch.equal(rebuilt[~broken], threat.start(PART.x)[~broken])
    stepped = archive.form == STEPS
    again = compact(PART, threat, rebuilt, broken, lambda candidates, claimed: claimed)
    assert np.array_equal(again.steps[stepped], archive.steps), "replays do not wear a stored input down"
    assert np.array_equal(again.scale[stepped], archive.scale)


def test_one_byte_a_coordinate_is_enough_for_most_and_the_rest_is_kept_exactly() -> None:
    threat = Linf(0.2)
    points, broken = adversarial(threat)
    assert (stored(threat, points, broken).form == STEPS).mean() > 0.9

    def only(kind: int, points: Tensor = points) -> AdversarialArchive:
        calls: list[int] = []

        def check(candidates: Tensor, claimed: Tensor) -> Tensor:
            calls.append(1)
            return claimed & (len(calls) - 1 == kind)

        return compact(PART, threat, points, broken, check)

    halves, exact = only(HALVES), only(POINTS)
    assert set(halves.form.tolist()) == {HALVES}
    assert set(exact.form.tolist()) == {POINTS}
    assert torch.equal(expand(exact, PART, threat)[0][broken], points[broken])
    near = expand(halves, PART, threat)[0]
    assert bool(threat.contains(PART.x, near).all())
    assert only(HALVES, near).to_bytes() == halves.to_bytes()
    torch.testing.assert_close(near[broken], points[broken], atol=2e-4, rtol=0)


def test_the_same_inputs_give_the_same_bytes_and_shards_join_to_the_whole() -> None:
    threat = Linf(0.2)
    points, broken = adversarial(threat)
    whole = stored(threat, points, broken).to_bytes()
    assert stored(threat, points, broken).to_bytes() == whole
    halves = [slice(0, 15), slice(15, 40)]
    shards = [stored(threat, points[s], broken[s], PART[s]).to_bytes() for s in halves]
    assert join_archives(shards) == whole
    alone, there = expand(AdversarialArchive.from_bytes(whole), PART[15:], threat)
    assert torch.equal(there, broken[15:])
    assert torch.equal(alone, expand(AdversarialArchive.from_bytes(whole), PART, threat)[0][15:])


def test_nothing_broken_is_an_archive_of_nothing() -> None:
    archive = stored(Linf(0.2), PART.x, torch.zeros(40, dtype=torch.bool))
    assert len(AdversarialArchive.from_bytes(archive.to_bytes())) == 0
    assert not bool(expand(archive, PART, Linf(0.2))[1].any())
    assert len(archive.to_bytes()) < 2000


def archive_with(**changes: object) -> bytes:
    points, broken = adversarial(Linf(0.2))
    return replace(stored(Linf(0.2), points, broken), **changes).to_bytes()  # type: ignore[arg-type]


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, ids=np.array([print], dtype=object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK",
        pickled(),
        archive_with(ids=np.zeros(3, dtype=np.int64)),
        archive_with(form=np.full(5, STEPS, dtype=np.uint8)),
        archive_with(steps=np.zeros((2, 1, 7, 7), dtype=np.float64)),
        archive_with(halves=np.zeros((1, 3), dtype=np.float16)),
    ],
)
def test_anything_else_is_no_archive(data: bytes) -> None:
    with pytest.raises(InputError, match="no archive of adversarial inputs"):
        AdversarialArchive.from_bytes(data)


def test_damaged_archives_are_refused_in_words() -> None:
    good = archive_with()
    for place in range(0, len(good), 11):
        try:
            AdversarialArchive.from_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        except InputError:
            continue


def test_inputs_of_another_challenge_do_not_fit() -> None:
    points, broken = adversarial(Linf(0.2))
    with pytest.raises(InputError, match="holds points of shape"):
        expand(stored(Linf(0.2), points, broken), PART, Spatial(0.5))
