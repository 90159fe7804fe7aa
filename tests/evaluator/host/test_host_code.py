"""What code people write: relative imports, TorchScript, torch.compile, changes in place; and what is told when it fails."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hosts import SMALL_NET, X, hosted, in_module, local_net, write_submission

from evaluator.errors import SubmissionError
from evaluator.host.proxy import RemoteModel

NET = SMALL_NET.replace("def load(directory)", "def build()")
WRAPPED = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = build()
    def forward(self, x):
        return self.net(x)
"""


def agrees(remote: RemoteModel) -> bool:
    """Its logits and gradients are those of the plain network."""
    ours, theirs, net = X.clone().requires_grad_(True), X.clone().requires_grad_(True), local_net()
    answer, expected = remote(ours), net(theirs)
    (one,), (other,) = torch.autograd.grad(answer.sum(), ours), torch.autograd.grad(expected.sum(), theirs)
    return torch.equal(remote(X), net(X)) and torch.allclose(answer, expected) and torch.allclose(one, other)


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ("defense.py", "from .model import build"),
        ("code/defense.py", "from model import build"),
        ("my-defense.v2.py", "from .parts.model import build"),
        ("code/defense.py", "from . import build"),
    ],
)
def test_an_entry_imports_what_lies_beside_it(tmp_path: Path, line: str, entry: str) -> None:
    folder = write_submission(tmp_path, "")
    (folder / "defense.toml").write_text(f'name = "x"\nformat = "python"\nentry = "{entry}"\n')
    beside = (folder / entry).parent
    (beside / "parts").mkdir(parents=True)
    (beside / "parts/__init__.py").touch()
    (beside / "parts/model.py").write_text(NET)
    (beside / "model.py").write_text(NET)
    (beside / "__init__.py").write_text("from .model import build\n")
    (folder / entry).write_text(f"{line}\n\ndef load(directory):\n    return build()\n")
    with hosted(folder) as remote:
        assert agrees(remote)


def test_an_init_file_that_nobody_asks_for_does_not_run(tmp_path: Path) -> None:
    folder = write_submission(tmp_path, SMALL_NET)
    (folder / "__init__.py").write_text("raise RuntimeError('not for this')\n")
    with hosted(folder) as remote:
        assert agrees(remote)


@pytest.mark.parametrize(
    "wrap", ["torch.jit.script(Net())", "torch.jit.trace(Net(), torch.zeros(1, 1, 7, 7))", "torch.compile(Net())"]
)
def test_scripted_traced_and_compiled_modules_are_judged(tmp_path: Path, wrap: str) -> None:
    with hosted(write_submission(tmp_path, f"{NET}{WRAPPED}\ndef load(directory):\n    return {wrap}\n")) as remote:
        assert agrees(remote)
        remote.inspected(X)
        for backward in ("straight-through", "learned", "float64", "removed"):
            other = remote.with_backward(backward)
            leaf = X.clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(other(leaf).sum(), leaf)
            assert torch.isfinite(gradient).all()


def test_compiling_within_forward_changes_nothing(tmp_path: Path) -> None:
    body = "self.net.compile()\n@torch.compile\ndef f(z): return self.net(z)\nreturn torch.compile(f, mode='max-autotune')(x)"
    with hosted(write_submission(tmp_path, in_module(body))) as remote:
        assert agrees(remote)


def test_a_network_that_changes_its_input_in_place_is_judged(tmp_path: Path) -> None:
    changing = in_module("x -= 0.5\nx += 0.5\nx.clamp_(0, 1)\nreturn self.net(x)")
    with hosted(write_submission(tmp_path, changing)) as remote:
        leaf = X.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(remote(leaf).sum(), leaf)
        assert float(gradient.abs().sum()) > 0
        assert torch.allclose(remote(X), local_net()(X), atol=1e-5)
        remote.inspected(X)


def told(folder: Path) -> str:
    with pytest.raises(SubmissionError) as failure, hosted(folder) as remote:
        remote(X)
    return str(failure.value)


def test_a_failure_names_the_exception_first_and_then_the_submissions_own_lines(tmp_path: Path) -> None:
    code = in_module("return helper(self.net, x)").replace("class Defense", "from helping import helper\n\nclass Defense")
    folder = write_submission(tmp_path, code)
    (folder / "helping.py").write_text(
        "import torch\n\ndef helper(net, x):\n    return torch.nn.functional.linear(x, net[3].weight)\n"
    )
    first, *rest = told(folder).splitlines()
    assert first.startswith("RuntimeError: mat1 and mat2 shapes cannot be multiplied")
    assert [line.split(":")[0] for line in rest] == ["  helping.py, line 4, in helper", "  defense.py, line 17, in forward"]
    assert "|" not in told(folder)


def test_a_file_that_is_no_python_names_the_place(tmp_path: Path) -> None:
    assert "SyntaxError: '(' was never closed\n  defense.py, line 1: def load(d:" in told(
        write_submission(tmp_path, "def load(d:")
    )


def test_torchscript_tells_the_cause_before_its_own_traceback(tmp_path: Path) -> None:
    failing = f"{NET}{WRAPPED}\ndef load(directory):\n    return torch.jit.script(Net())\n".replace(
        "self.net(x)", "self.net(x[:, :, 1:])"
    )
    assert told(write_submission(tmp_path, failing)).splitlines()[0].startswith("RuntimeError: mat1 and mat2 shapes")


@pytest.mark.parametrize(
    ("body", "reason", "words"),
    [
        ("return self.net(x).to_sparse()", "raised", "ordinary tensor"),
        ("return self.net(x).to(torch.complex128)", "raised", "complex128"),
        ("return torch.empty(6, 3, device='meta')", "raised", "ordinary tensor"),
        ("return None", "raised", "NoneType"),
        ("return (self.net(x), x)", "raised", "tuple"),
        ("torch.empty(1 << 60)", "memory", "allocate memory"),
        ("raise MemoryError('no room')", "memory", "no room"),
        ("raise KeyError('missing')", "raised", "KeyError: 'missing'"),
        ("class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd", "raised", "Odd: (it does not say why)"),
    ],
    ids=["sparse", "complex", "meta", "none", "tuple", "memory", "memory-error", "key-error", "odd"],
)
def test_whatever_a_network_answers_is_its_own_failure_in_a_line(tmp_path: Path, body: str, reason: str, words: str) -> None:
    with hosted(write_submission(tmp_path, in_module(body))) as remote:
        for x in (X, X.clone().requires_grad_(True)):
            with pytest.raises(SubmissionError) as failure:
                remote(x)
            assert failure.value.reason == reason
            assert words in failure.value.what.splitlines()[0]


def test_a_load_that_returns_something_odd_is_reported_and_does_not_die(tmp_path: Path) -> None:
    code = "from torch import nn\nclass Net(nn.Module):\n    def eval(self): raise ValueError('never')\n"
    code += "def load(directory): return Net()\n"
    with pytest.raises(SubmissionError, match="ValueError: never") as failure, hosted(write_submission(tmp_path, code)):
        pass
    assert failure.value.reason == "load"
