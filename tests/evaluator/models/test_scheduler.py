"""Between askers and the model: everybody gets the answers to their own rows, whatever passes those were in."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from evaluator.errors import SubmissionError
from evaluator.models.company import Company, files
from evaluator.models.meter import Meter
from evaluator.models.scheduler import LARGEST, Scheduled, Scheduler, scheduled
from evaluator.models.turns import by_the_caller, patiently


class Watched(nn.Module):
    """A linear network that keeps the passes it was asked."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Tanh(), nn.Linear(8, 4)).requires_grad_(False)
        self.passes: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.passes.append(x.detach().clone())
        return self.net(x)  # type: ignore[no-any-return]


def images(count: int, seed: int = 0) -> Tensor:
    """Images as files hold them."""
    return (torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(seed)) * 255).round() / 255


def noisy(count: int, seed: int = 1) -> Tensor:
    return images(count) * 0.9 + 0.05 * torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(seed))


def asked(model: nn.Module, seed: int = 5, examples: int = 0) -> tuple[Scheduled, Meter]:
    meter = Meter()
    company = Company(lambda x, number: (x + 0.03).clamp(0, 1), seed, examples)
    return scheduled(Scheduler(model, 4, meter, seed, company), model), meter


def gradient(model: Callable[[Tensor], Tensor], x: Tensor, cotangent: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_(True)
    (found,) = torch.autograd.grad(model(leaf), leaf, cotangent)
    return found


def test_answers_and_gradients_are_those_of_each_row_for_everybody_who_asks() -> None:
    model = Watched()
    mixed, _ = asked(model, examples=200)
    x, other, cotangent = images(90), noisy(70), torch.randn(90, 4, generator=torch.Generator().manual_seed(2))
    said: dict[str, Tensor] = {}

    def climber() -> None:
        said["logits"], said["gradient"] = mixed(x), gradient(mixed, x, cotangent)

    def looker() -> None:
        with torch.no_grad(), patiently():
            said["looked"] = mixed(other)

    mixed.together(climber, looker)
    assert torch.allclose(said["logits"], model.net(x), atol=1e-6)
    assert torch.allclose(said["looked"], model.net(other), atol=1e-6)
    assert torch.allclose(said["gradient"], gradient(model.net, x, cotangent), atol=1e-6)


def test_a_graph_may_be_asked_several_times() -> None:
    model = Watched()
    mixed, _ = asked(model)
    leaf = noisy(40).requires_grad_(True)
    logits = mixed(leaf)
    for column in range(3):
        (found,) = torch.autograd.grad(logits[:, column].sum(), leaf, retain_graph=True)
        cotangent = torch.zeros(40, 4).index_fill(1, torch.tensor([column]), 1.0)
        assert torch.allclose(found, gradient(model.net, leaf.detach(), cotangent), atol=1e-6)


def test_the_passes_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    def passes(seed: int) -> list[Tensor]:
        model = Watched()
        mixed, _ = asked(model, seed, examples=40)
        mixed.together(*(lambda rows=rows: [mixed(rows) for _ in range(3)] and None for rows in (noisy(30), images(20))))
        return model.passes

    first, again, other = passes(1), passes(1), passes(2)
    assert len(first) == len(again)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert [len(one) for one in first] != [len(one) for one in other]


def test_rows_of_several_askers_meet_in_one_pass() -> None:
    model = Watched()
    mixed, _ = asked(model)
    mixed.together(lambda: _ask(mixed, noisy(60)), lambda: _ask(mixed, images(60)))
    assert any(0 < int(files(rows).sum()) < len(rows) for rows in model.passes)


def _ask(model: nn.Module, x: Tensor) -> None:
    model(x)


def test_who_is_patient_rides_with_others_and_waits_for_nobody_in_vain() -> None:
    model = Watched()
    mixed, _ = asked(model)
    done: list[str] = []

    def climber() -> None:
        for _ in range(40):
            mixed(noisy(1))
        done.append("climber")

    def patient() -> None:
        with patiently():
            for _ in range(2):
                mixed(images(30))
        done.append("patient")

    mixed.together(climber, patient)
    assert sorted(done) == ["climber", "patient"]
    together = [rows for rows in model.passes if 0 < int(files(rows).sum()) < len(rows)]
    assert sum(int(files(rows).sum()) for rows in together) >= 30, "most of what is patient rode with the climb"


def test_a_pass_of_files_gets_others_for_company_and_the_other_way_round() -> None:
    model = Watched()
    mixed, meter = asked(model, examples=400)
    mixed(images(400))
    lonely = [rows for rows in model.passes if len(rows) > 8 and bool(files(rows).all())]
    assert len(lonely) <= len(model.passes) / 5
    assert meter.forward_rows == sum(len(rows) for rows in model.passes) - 400
    model.passes.clear()
    mixed(noisy(400))
    assert sum(int(files(rows).sum()) for rows in model.passes) > 40


def test_company_is_a_few_rows_in_a_hundred_beyond_two_for_each_image() -> None:
    model = Watched()
    mixed, meter = asked(model, examples=10)
    for _ in range(30):
        mixed(noisy(100))
    assert meter.forward_rows <= 0.03 * 3000 + 2 * 10 + 64


def test_no_pass_is_larger_than_the_largest_and_many_are_small() -> None:
    model = Watched()
    mixed, _ = asked(model, examples=4000)
    mixed(noisy(4000))
    sizes = torch.tensor([len(rows) for rows in model.passes])
    assert int(sizes.max()) <= LARGEST
    assert 0.1 < float((sizes <= 8).double().mean()) < 0.6
    assert int(sizes.max()) > 100


def test_when_one_asker_fails_the_others_are_let_go_and_the_failure_is_told() -> None:
    mixed, _ = asked(Watched())
    ended: list[bool] = []

    def failing() -> None:
        mixed(noisy(3))
        raise ValueError("no such step")

    def endless() -> None:
        try:
            while True:
                mixed(noisy(3))
        finally:
            ended.append(True)

    before = threading.active_count()
    with pytest.raises(ValueError, match="no such step"):
        mixed.together(endless, failing)
    assert ended == [True]
    assert threading.active_count() == before


def test_an_answer_of_the_wrong_shape_is_the_submissions_failure() -> None:
    class Short(Watched):
        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)[:-1]  # type: ignore[no-any-return]

    mixed, _ = asked(Short())
    with pytest.raises(SubmissionError, match="it must be"):
        mixed(noisy(9))


def test_what_an_asker_reports_is_reported_by_the_thread_that_began() -> None:
    mixed, _ = asked(Watched())
    told: list[str] = []

    def report() -> None:
        told.append(threading.current_thread().name)

    def asker() -> None:
        by_the_caller(report)
        mixed(noisy(2))

    mixed.together(asker, asker)
    assert told == [threading.current_thread().name] * 2


def test_a_report_that_raises_raises_in_the_asker() -> None:
    mixed, _ = asked(Watched())

    def refuse() -> None:
        raise KeyError("cancelled")

    with pytest.raises(KeyError, match="cancelled"):
        mixed.together(lambda: by_the_caller(refuse))
