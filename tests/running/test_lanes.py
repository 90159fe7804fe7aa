"""How a submission's model is opened in its sandbox."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from packs import python_submission

from arena.running.lanes import Lane
from arena.running.listening import Listener
from evaluator.errors import Cancelled
from evaluator.host.load import read_manifest
from evaluator.manifests.spec import LimitsSpec
from sandbox.choose import open_sandbox

TELLS_ITS_THREADS = r"""
import re
import torch
from torch import nn

class Threads(nn.Module):
    def forward(self, x):
        counts = re.findall(r"(?:omp|mkl)_get_max_threads\(\) : (\d+)", torch.__config__.parallel_info())
        return torch.tensor([[float(torch.get_num_threads()), *map(float, counts)]])

def load(directory):
    return Threads()
"""


def test_a_host_computes_on_the_threads_that_it_was_given(tmp_path: Path) -> None:
    folder = python_submission(tmp_path / "threads", TELLS_ITS_THREADS)
    for threads in (1, 3):
        lane = Lane("host", folder, read_manifest(folder), LimitsSpec(), open_sandbox("auto"), threads)
        with lane.open(3) as model:
            assert model(torch.zeros(1, 1, 8, 8)).tolist() == [[threads] * 3]  # torch, OpenMP, MKL


NEVER_ANSWERS = r"""
import time
from torch import nn

class Sleeper(nn.Module):
    def forward(self, x):
        time.sleep(10**6)

def load(directory):
    return Sleeper()
"""


def test_a_host_that_computes_is_killed_when_its_evaluation_is_cancelled(tmp_path: Path) -> None:
    folder, cancelled = python_submission(tmp_path / "sleeper", NEVER_ANSWERS), threading.Event()
    limits = LimitsSpec(reply_seconds=600)
    lane = Lane("host", folder, read_manifest(folder), limits, open_sandbox("auto"), 1, Listener(cancelled=cancelled.is_set))

    def ask() -> None:
        with lane.open(3) as model:
            threading.Timer(0.5, cancelled.set).start()
            model(torch.zeros(1, 1, 8, 8))

    with pytest.raises(Cancelled):
        ask()
