"""A pass that would keep more than there is room for is asked in parts: the same answers, in the memory that is allowed."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluator.host import local
from evaluator.host.graphs import Graphs, probed
from evaluator.host.local import Blamed, SameProcess, in_process
from evaluator.host.proxy import RemoteModel
from evaluator.host.serve import Host
from evaluator.host.wire import Message

X = torch.rand(40, 1, 12, 12, generator=torch.Generator().manual_seed(3))
COTANGENT = torch.randn(40, 4, generator=torch.Generator().manual_seed(4))


class Noisy(nn.Module):
    """Random, so that a graph that is made again from another random state has another gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []
        self.net = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Flatten())
        self.last = nn.Linear(32 * 64, 4)

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        return self.last(functional.dropout(self.net(x), 0.5, training=True))  # type: ignore[no-any-return]


def net() -> Noisy:
    torch.manual_seed(0)
    return Noisy().eval().requires_grad_(False)


def asked(model: nn.Module, room: int | None) -> tuple[Tensor, Tensor]:
    host = Host(model, room=room)
    torch.manual_seed(5)
    answer = host.answer(Message("forward", {"keep": "a"}, {"x": X.clone()})).tensors["logits"].detach()
    torch.rand(7)  # what is drawn between the two changes nothing
    return answer, host.answer(Message("vjp", {"keep": "a"}, {"cotangent": COTANGENT})).tensors["gradient"]


def in_parts(rows: int) -> tuple[Tensor, Tensor]:
    """What asking so many rows at a time gives."""
    model = net()
    torch.manual_seed(5)
    answers, gradients = [], []
    for x, cotangent in zip(X.split(rows), COTANGENT.split(rows), strict=True):
        leaf = x.clone().requires_grad_(True)
        answers.append(model(leaf))
        gradients += torch.autograd.grad(answers[-1], leaf, cotangent)
    return torch.cat([answer.detach() for answer in answers]), torch.cat(gradients)


def test_with_room_enough_a_pass_is_asked_whole_and_once() -> None:
    model = net()
    assert all(torch.equal(one, other) for one, other in zip(asked(model, 1 << 40), in_parts(40), strict=True))
    assert model.rows == [40]


def test_without_room_it_is_asked_in_equal_parts_and_the_gradient_is_that_of_the_same_noise() -> None:
    model = net()
    room = int(probed(model, X) * 11)
    model.rows.clear()
    assert all(torch.equal(one, other) for one, other in zip(asked(model, room), in_parts(10), strict=True))
    assert model.rows == [40, 4, *[10] * 8], "one try, four rows to measure, four parts forward, four again for the gradient"


def test_a_pass_that_was_cut_short_leaves_nothing_behind() -> None:
    made: list[weakref.ref[torch.UntypedStorage]] = []

    class Watched(Noisy):
        def forward(self, x: Tensor) -> Tensor:
            hidden = self.net[1](self.net[0](x))
            made.append(weakref.ref(hidden.untyped_storage()))
            return super().forward(x) + 0 * hidden.relu().sum()

    torch.manual_seed(0)
    model = Watched().eval().requires_grad_(False)
    room = int(probed(model, X) * 11)
    asked(model, room)
    gc.collect()
    assert [ref() for ref in made] == [None] * len(made)


def test_what_was_measured_once_is_not_measured_again() -> None:
    model = net()
    graphs = Graphs(model, int(probed(model, X) * 11))
    for number in range(3):
        model.rows.clear()
        graphs.forward(str(number), X[:8].clone() if number == 2 else X.clone(), model, kind="own")
    assert model.rows == [8]


def test_old_graphs_are_let_go_before_a_pass_is_cut() -> None:
    model = net()
    graphs = Graphs(model, int(probed(model, X) * 100))
    for name in "abc":
        graphs.forward(name, X.clone(), model, kind="own")
    assert model.rows == [4, 40, 40, 40]
    assert graphs.vjp("a", COTANGENT) is None
    assert graphs.vjp("b", COTANGENT) is not None


def test_a_submissions_own_handlers_do_not_hide_that_there_is_no_room() -> None:
    class Catching(Noisy):
        def forward(self, x: Tensor) -> Tensor:
            try:
                return super().forward(x)
            except Exception:
                return torch.zeros(len(x), 4)

    torch.manual_seed(0)
    model = Catching().eval().requires_grad_(False)
    room = int(probed(model, X) * 11)
    assert all(torch.equal(one, other) for one, other in zip(asked(model, room), in_parts(10), strict=True))


def test_both_lanes_ask_a_large_network_in_the_same_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain(Noisy):
        def forward(self, x: Tensor) -> Tensor:
            self.rows.append(len(x))
            return self.last(self.net(x))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    model = Plain().eval().requires_grad_(False)
    small = in_process(model, shape=(1, 12, 12), classes=4, memory_mb=10_000)
    monkeypatch.setattr(local, "room", lambda memory_mb, model: int(probed(model, X) * 11))
    large = in_process(model, shape=(1, 12, 12), classes=4, memory_mb=1)
    assert isinstance(small, Blamed)
    assert isinstance(large, RemoteModel)
    model.rows.clear()
    leaf = X.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(large(leaf), leaf, COTANGENT)
    assert max(model.rows[2:]) < 40
    leaf = X.clone().requires_grad_(True)
    (whole,) = torch.autograd.grad(small(leaf), leaf, COTANGENT)
    assert torch.allclose(gradient, whole, atol=1e-6)


def test_an_exception_of_a_network_in_this_process_is_the_submissions() -> None:
    from evaluator.errors import Cancelled, SubmissionError

    class Ended(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise Cancelled("the evaluation was cancelled.")

    with pytest.raises(SubmissionError, match="the network failed on 2 images of \\(3, 12, 12\\)"):
        Blamed(net())(torch.rand(2, 3, 12, 12))
    with pytest.raises(Cancelled):
        Blamed(Ended())(X)


def test_a_host_in_this_process_leaves_no_mark_on_what_it_was_asked() -> None:
    x = X.clone()
    answer = RemoteModel(SameProcess(Host(net())), classes=4)(x)
    assert not x.requires_grad, "the host's own leaf is another tensor"
    assert answer.grad_fn is None


def test_a_host_in_this_process_is_differentiated_inside_a_backward_pass() -> None:
    x = X.clone().requires_grad_(True)
    answer = RemoteModel(SameProcess(Host(net().net)), classes=32 * 64)(x)
    (gradient,) = torch.autograd.grad(answer.sum(), x)
    assert bool(gradient.any())
