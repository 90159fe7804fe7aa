"""How answers are read follows from the manifest, and a reading alone knows what an answer's columns mean."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from evaluator.errors import InputError
from evaluator.manifests.spec import DefenseManifest
from evaluator.models.reading import ARGMAX, Argmax, Reading, Votes, WithDetector, reading_of
from evaluator.wanted import Wanted

X, Y = torch.zeros(3, 1, 2, 2), torch.zeros(3, dtype=torch.int64)


def manifest(**declared: object) -> DefenseManifest:
    return DefenseManifest.model_validate({"name": "test", "format": "python", "entry": "defense.py", **declared})


@pytest.mark.parametrize(
    ("declared", "reading", "random", "refuses", "columns"),
    [
        ({}, Argmax(), False, False, 4),
        ({"randomized": True}, Votes(), True, False, 4),
        ({"randomized": True, "votes": 8}, Votes(8), True, False, 4),
        ({"detector": True}, WithDetector(), False, True, 5),
    ],
)
def test_the_manifest_decides_how_answers_are_read(
    declared: dict[str, object], reading: Reading, random: bool, refuses: bool, columns: int
) -> None:
    found = reading_of(manifest(**declared))
    assert found == reading
    assert (found.random, found.refuses, found.columns(4)) == (random, refuses, columns)


def test_votes_that_are_declared_without_randomness_count_where_answers_turn_out_random() -> None:
    assert reading_of(manifest(votes=8)).scored == Votes(8)


def test_one_answer_is_right_wrong_or_refused() -> None:
    answers = torch.tensor([[2.0, 1.0, -1.0], [1.0, 2.0, -1.0], [1.0, 2.0, 1.0]])
    detector = WithDetector()
    said = detector.read(detector.climbed, answers, Wanted(Y), 2)
    assert said.labels.tolist() == [0, 1, -1]
    assert said.correct.tolist() == [True, False, False]
    assert said.met.tolist() == said.broken.tolist() == [False, True, False]
    blind = ARGMAX.read(lambda x: x[:, :2], answers, Wanted(Y), 2)
    assert blind.met.tolist() == [False, True, True]


def test_votes_tell_wrong_from_broken_beyond_chance() -> None:
    """30 of 64 votes for the true class are no majority, and no proof either."""
    passes = 0

    def model(x: Tensor) -> Tensor:
        nonlocal passes
        passes += 1
        named = torch.tensor([0, passes > 30, 1]).long()
        return torch.nn.functional.one_hot(named, 2).float()

    said = Votes().read(model, X, Wanted(Y), 2)
    assert passes == 64
    assert said.correct.tolist() == [True, False, False]
    assert said.met.tolist() == [False, True, True]
    assert said.broken.tolist() == [False, False, True]


def test_no_votes_are_refused_in_words() -> None:
    with pytest.raises(InputError, match="at least 1"):
        Votes(0)
