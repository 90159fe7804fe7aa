"""Noisy rows are asked so that nothing can be learned from the rows beside them."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from evaluator.certify.strangers import CHECK, FEW, KEPT, Strangers
from evaluator.data.tensors import Examples
from evaluator.judging.certification import Certified, Searched, certified
from evaluator.manifests.certificate_specs import CertificateSpec
from evaluator.threats import L2

COUNT = 12
REQUEST = CertificateSpec(method="smoothing", sigma=0.5, n=1000)


def net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 4)).requires_grad_(False)


def examples() -> Examples:
    x = torch.randint(0, 2, (COUNT, 1, 6, 6), generator=torch.Generator().manual_seed(0)).float()  # far apart
    return Examples(torch.arange(COUNT), x, net()(x).argmax(dim=1), 4)


class OfBlocks(nn.Module):
    """Takes the mean of every fifty rows, which would be copies of one image, for all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: Tensor) -> Tensor:
        if len(x) % 50 or float(x.min()) > -0.2:
            return self.net(x)  # type: ignore[no-any-return]
        mean = x.reshape(-1, 50, *x.shape[1:]).mean(dim=1).clamp(0, 1)
        return self.net(mean).repeat_interleave(50, dim=0)  # type: ignore[no-any-return]


class OfNeighbors(OfBlocks):
    """Finds the copies of one image by their distance, wherever they are in the pass."""

    def forward(self, x: Tensor) -> Tensor:
        if float(x.min()) > -0.2:
            return self.net(x)  # type: ignore[no-any-return]
        flat = x.flatten(1)
        near = torch.cdist(flat, flat) < 0.5 * 2**0.5 * 36**0.5 * 1.2
        mean = (near.float() @ flat) / near.sum(dim=1, keepdim=True)
        return self.net(mean.reshape(x.shape).clamp(0, 1))  # type: ignore[no-any-return]


def judged(model: nn.Module) -> Certified:
    part = examples()
    nothing = Searched(torch.ones(COUNT, dtype=torch.bool), torch.ones(COUNT, dtype=torch.bool), part.x)
    return certified(lambda: nullcontext(copy.deepcopy(model)), part, nothing, L2(0.25), REQUEST, seed=3)


def test_an_honest_certificate_is_not_doubted() -> None:
    assert CHECK not in [flag.check for flag in judged(net()).flags]


def test_copies_of_an_image_cannot_be_averaged_by_their_place() -> None:
    assert int(judged(OfBlocks()).bits.sum()) <= int(judged(net()).bits.sum())


def test_copies_of_an_image_that_are_found_by_distance_void_every_certificate() -> None:
    verdict = judged(OfNeighbors())
    assert CHECK in [flag.check for flag in verdict.flags]
    assert int(verdict.bits.sum()) == 0


def test_a_constant_beside_the_logits_hides_no_company() -> None:
    class Shifted(OfNeighbors):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 1e4

    assert CHECK in [flag.check for flag in judged(Shifted()).flags]


class Remembering(OfBlocks):
    """Knows a noisy row again, by the clean image that it saw first, and answers for that one."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = list[Tensor]()

    def forward(self, x: Tensor) -> Tensor:
        said = self.net(x).clone()
        if len(x) <= FEW or float(x.min()) > -0.2:
            return said  # type: ignore[no-any-return]
        for row, image in enumerate(x.flatten(1)):
            known = next((mean for mean in self.seen if float((mean - image).norm()) < 0.5 * 6 * 1.6), None)
            if known is None:
                self.seen.append(image.clone())
            else:
                known += 0.1 * (image - known)
                said[row] = self.net(known.clamp(0, 1).reshape(1, 1, 6, 6))[0]
        return said  # type: ignore[no-any-return]


def test_a_running_mean_over_passes_voids_every_certificate() -> None:
    verdict = judged(Remembering())
    assert CHECK in [flag.check for flag in verdict.flags]
    assert int(verdict.bits.sum()) == 0


def test_other_logits_however_large_hide_no_company() -> None:
    class Padded(OfNeighbors):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([super().forward(x), torch.full((len(x), 1), -1e6)], dim=1)

    assert CHECK in [flag.check for flag in judged(Padded()).flags]


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_coarse_arithmetic_is_not_doubted(kind: torch.dtype) -> None:
    class Coarse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net().to(kind)

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x.to(kind)).float()  # type: ignore[no-any-return]

    assert CHECK not in [flag.check for flag in judged(Coarse()).flags]


def test_every_row_gets_its_own_answer_whatever_the_passes() -> None:
    x, sizes = torch.rand(101, 1, 6, 6), list[int]()
    asked = net()

    def model(part: Tensor) -> Tensor:
        sizes.append(len(part))
        return asked(part)  # type: ignore[no-any-return]

    strangers = Strangers(model, seed=1)
    for _ in range(30):
        torch.testing.assert_close(strangers(x), asked(x))
    assert len(set(sizes)) > 10
    sizes.clear()
    assert strangers.doubts(model) == []
    assert sizes == [1] * (KEPT // 2) + [16] * (KEPT // 32)
