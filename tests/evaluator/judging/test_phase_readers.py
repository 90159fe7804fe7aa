"""Models that answer the search otherwise than the checks, by whatever they can read of a pass, gain nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest
import torch
from torch import Tensor, nn

from evaluator.attacks import PGD
from evaluator.attacks.base import Model
from evaluator.checks import Honest
from evaluator.data.tensors import Examples
from evaluator.ensembles import Sequence, Stage
from evaluator.host.proxy import RemoteModel
from evaluator.host.serve import Host
from evaluator.host.wire import Message
from evaluator.judging import Defense, Verdict, evaluate
from evaluator.models.company import files
from evaluator.threats import Linf
from tests.evaluator.cheats import net

COUNT = 12
ENSEMBLE = Honest(Sequence("test", (Stage("PGD", PGD(steps=10, loss="margin")),)))


def examples() -> Examples:
    x = (torch.rand(COUNT, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 255).round() / 255
    return Examples(torch.arange(COUNT), x, net()(x).argmax(dim=1), 4)


class Reader(nn.Module):
    """An ordinary network that answers for a coarse copy of its input whenever it takes a pass for the search's."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.passes, self.rows = net(), 0, 0

    def hides(self, x: Tensor) -> bool:
        """Whether this pass is the search's."""
        return False

    def forward(self, x: Tensor) -> Tensor:
        self.passes, self.rows = self.passes + 1, self.rows + len(x)
        if not self.hides(x):
            return self.net(x)  # type: ignore[no-any-return]
        return self.net((2 * x).round() / 2)  # type: ignore[no-any-return]


class BySize(Reader):
    def hides(self, x: Tensor) -> bool:
        return len(x) > 16


class ByMode(Reader):
    def hides(self, x: Tensor) -> bool:
        return torch.is_grad_enabled() and x.requires_grad


class ByFiles(Reader):
    def hides(self, x: Tensor) -> bool:
        return not bool(files(x).any())


class ByPasses(Reader):
    def hides(self, x: Tensor) -> bool:
        return self.passes > 12


class ByRows(Reader):
    def hides(self, x: Tensor) -> bool:
        return 200 < self.rows < 4000


class ByCallers(Reader):
    """Reads the request that its pass came with."""

    def hides(self, x: Tensor) -> bool:
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            request = frame.f_locals.get("request")
            if isinstance(request, Message):
                return "keep" in request.fields
            frame = frame.f_back
        return False


class _Here:
    """A line to a host in this process."""

    def __init__(self, model: nn.Module) -> None:
        self._host = Host(model)

    def ask(self, request: Message, *, limit: int, doing: str) -> Message:
        reply = self._host.reply(request)
        return Message(reply.op, reply.fields, {name: tensor.detach() for name, tensor in reply.tensors.items()})


def judged(kind: type[Reader]) -> Verdict:
    @contextmanager
    def opened() -> Iterator[Model]:
        yield RemoteModel(_Here(kind()), classes=4, beside=lambda: _Here(kind()))

    return evaluate(Defense(opened), examples(), Linf(0.12), ENSEMBLE, seed=4)


@pytest.fixture(scope="module")
def truth() -> Verdict:
    """The verdict on the network that all of them are."""
    return judged(Reader)


@pytest.mark.parametrize("kind", [BySize, ByMode, ByFiles, ByPasses, ByRows, ByCallers])
def test_what_reads_the_phase_is_not_verified_above_its_truth(kind: type[Reader], truth: Verdict) -> None:
    verdict = judged(kind)
    above = int(verdict.robust.sum()) > int(truth.robust.sum())
    assert not above or any(flag.severity == "unverified" for flag in verdict.flags), verdict.robust.sum()


def test_the_network_itself_is_verified_and_falls(truth: Verdict) -> None:
    assert [flag.check for flag in truth.flags if flag.severity == "unverified"] == []
    assert int(truth.robust.sum()) < COUNT / 2
