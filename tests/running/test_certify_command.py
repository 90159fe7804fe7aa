"""`redoubt certify`: what is proven in a table and a file, and one line of error before anything is computed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from packs import python_submission

from arena.cli.main import main
from arena.running import certificate

SMOOTH = ["--method", "smoothing", "--sigma", "0.5", "--n", "400"]


def redoubt(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Runs `redoubt certify` in this process and returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["redoubt", "certify", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def test_smoothing_prints_the_accuracy_at_each_radius_and_the_chance_of_error_and_saves_the_radii(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "radii.npz"
    options = [*SMOOTH, "--radii", "0,0.25,0.5", "--examples", "6", "--seed", "1", "--save", str(file)]
    assert redoubt(monkeypatch, "mnist-smooth", *options) == 0
    printed = capsys.readouterr().out
    for words in ("certified at 0.25", "average certified radius", "abstentions", "alpha, for each image", "at most 0.006"):
        assert words in printed
    with np.load(file, allow_pickle=False) as saved:
        assert saved["radius"].shape == (6,)
        assert set(saved["radius"].tolist()) <= {-1.0, 0.0, 0.25, 0.5}
        assert saved["accuracies"].tolist() == [float((saved["radius"] >= r).mean()) for r in (0.0, 0.25, 0.5)]
        assert saved["accuracies"][1] >= 0.5


def test_a_defense_in_python_is_smoothed_through_the_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = python_submission(tmp_path / "s")
    assert redoubt(monkeypatch, str(folder), *SMOOTH, "--radii", "0,0.1", "--examples", "2") == 0
    assert "certified at 0.1" in capsys.readouterr().out


def test_without_a_method_the_defenses_own_request_is_computed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert redoubt(monkeypatch, "mnist-ibp", "--examples", "20") == 0
    printed = capsys.readouterr().out
    assert "ibp of CNN-A" in printed
    assert "certified at 0.3" in printed
    assert "none: a proof" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mnist-smooth", "--method", "smoothing"], "needs sigma"),
        (["mnist-smooth", "--method", "magic"], 'not "magic"'),
        (["mnist-smooth", "--method", "ibp", "--sigma", "0.5"], "does not take sigma"),
        (["mnist-smooth", *SMOOTH, "--pack", "mnist-linf"], "says nothing about linf"),
        (["mnist-smooth", *SMOOTH, "--radii", "0.5,0.25"], "radii must be at least 0 and increase"),
        (["mnist-smooth", *SMOOTH, "--radii", "wide"], "is not a list of numbers"),
        (["mnist-smooth", "--method", "milp"], "MILP is for at most 20,000"),
        (["mnist-smooth", *SMOOTH, "--save", "nowhere/radii.npz"], "there is no such folder"),
        (["mnist-standard"], "asks for no certificate"),
        (["no-such"], "nor a shipped baseline"),
    ],
    ids=["no-sigma", "method", "foreign", "norm", "order", "words", "milp", "folder", "no-request", "no-defense"],
)
def test_what_cannot_be_certified_is_one_line_before_any_compute(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("something was computed")

    monkeypatch.setattr(certificate, "certify_at_radii", never)
    assert redoubt(monkeypatch, *arguments) == 2
    *before, told = capsys.readouterr().err.strip().splitlines()
    assert words in told
    assert before in ([], ["milp: getting the images and starting"])


def test_a_method_that_reads_layers_asks_for_weights_where_a_defense_is_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert redoubt(monkeypatch, str(python_submission(tmp_path / "s")), "--method", "crown") == 2
    assert "reads the network's layers. Submit safetensors" in capsys.readouterr().err
