"""The proxy to a host is an ordinary differentiable module, and a host that misbehaves is a typed failure, never a hang."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from hosts import SMALL_NET, X, hosted, in_module, local_net, write_submission
from torch import Tensor

from evaluator.attacks import PGD
from evaluator.errors import SubmissionError
from evaluator.models.meter import Meter, MeteredModel
from evaluator.threats import Linf


def test_logits_and_gradients_equal_the_in_process_ones_bit_for_bit(tmp_path: Path) -> None:
    net = local_net()
    with hosted(write_submission(tmp_path, SMALL_NET)) as remote:
        assert torch.equal(remote(X), net(X))
        for cotangent in (torch.ones(6, 3), torch.randn(6, 3)):
            a, b = X.clone().requires_grad_(True), X.clone().requires_grad_(True)
            (ours,) = torch.autograd.grad(remote(a), a, cotangent)
            (theirs,) = torch.autograd.grad(net(b), b, cotangent)
            assert torch.equal(ours, theirs)


def test_an_attack_runs_unchanged_through_the_proxy(tmp_path: Path) -> None:
    net, threat = local_net(), Linf(0.2)
    y = net(X).argmax(dim=1)
    with hosted(write_submission(tmp_path, SMALL_NET)) as remote:
        assert torch.equal(PGD(steps=5)(remote, X, y, threat), PGD(steps=5)(net, X, y, threat))


def test_a_jacobian_asks_one_graph_several_times_and_an_expired_graph_is_recomputed(tmp_path: Path) -> None:
    net = local_net()
    with hosted(write_submission(tmp_path, SMALL_NET)) as remote:
        leaf, same = X.clone().requires_grad_(True), X.clone().requires_grad_(True)
        logits, expected = remote(leaf), net(same)
        for k in range(3):
            if k == 2:
                for _ in range(33):
                    remote(X.clone().requires_grad_(True))
            (ours,) = torch.autograd.grad(logits[:, k].sum(), leaf, retain_graph=True)
            (theirs,) = torch.autograd.grad(expected[:, k].sum(), same, retain_graph=True)
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("body", "reason", "words"),
    [
        ("raise ValueError('no such kernel')", "raised", "no such kernel"),
        ("os._exit(3)", "died", "ended while it was asked to classify 6 images"),
        ("time.sleep(60)", "timeout", "within 2 s"),
        ("return self.net(x) * float('nan')", "not-finite", "NaN or Inf for 6 of 6"),
        ("return self.net(x)[:, :2]", "shape", "(6, 2)"),
        ("return self.net(x).double()", "dtype", "float64"),
        ("return torch.zeros(50, 1000, 1000)", "oversized", "20000"),
        ("return self.net(x).tolist()", "raised", "list"),
        (
            "for fd in range(3, 20):\n    try: os.write(fd, b'x' * 64)\n    except OSError: 0\nreturn self.net(x)",
            "oversized",
            "",
        ),
    ],
    ids=["raises", "dies", "hangs", "nan", "shape", "dtype", "200 MB", "list", "garbage"],
)
def test_a_host_that_misbehaves_is_a_typed_failure(tmp_path: Path, body: str, reason: str, words: str) -> None:
    begun = time.monotonic()
    with hosted(write_submission(tmp_path, in_module(body)), reply_seconds=60 if reason == "oversized" else 2) as remote:
        model = MeteredModel(remote, Meter(), classes=3)
        with pytest.raises(SubmissionError) as failure:
            model(X)
    assert failure.value.reason == reason
    assert words in str(failure.value)
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def load(d): raise RuntimeError('weights are missing')", "weights are missing"),
        ("def lod(d): pass", "defines no load(directory)"),
        ("def load(d): return 3", "returned a int"),
        ("import sys; sys.exit(0)", "SystemExit"),
        ("def load(d:", "SyntaxError"),
    ],
)
def test_a_submission_that_does_not_load_says_why(tmp_path: Path, code: str, words: str) -> None:
    with pytest.raises(SubmissionError) as failure, hosted(write_submission(tmp_path, code)):
        pass
    assert failure.value.reason == "load"
    assert words in str(failure.value)


def test_what_the_submission_prints_never_reaches_the_stream(tmp_path: Path) -> None:
    code = in_module("print('x' * 100000, flush=True)\nos.write(1, b'y' * 1000)\nreturn self.net(x)")
    with hosted(write_submission(tmp_path, code)) as remote:
        assert torch.equal(remote(X), local_net()(X))


def test_the_host_sees_batches_and_cotangents_and_nothing_else(tmp_path: Path) -> None:
    """A submission that records everything reachable from its frames finds no label, index or attack name."""
    code = in_module(
        "import gc\n"
        "frame, seen = sys._getframe(), []\n"
        "while frame is not None:\n"
        "    seen += [repr(v) for v in frame.f_locals.values() if isinstance(v, (str, int, dict))]\n"
        "    frame = frame.f_back\n"
        "raise ValueError('SEEN ' + ' '.join(seen))"
    )
    y = torch.arange(6) % 3

    def loss(logits: Tensor) -> Tensor:
        return logits.gather(1, y[:, None]).sum()

    with hosted(write_submission(tmp_path, code)) as remote, pytest.raises(SubmissionError) as failure:
        loss(remote(X.clone().requires_grad_(True)))
    for secret in ("label", "pgd", "PGD", "epsilon", "mnist", "tensor([0, 1, 2"):
        assert secret not in str(failure.value).split("SEEN")[-1]
