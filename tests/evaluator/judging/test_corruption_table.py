"""The table of errors under common corruptions: every form of every image, each asked about once."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluator.attacks import FGSM
from evaluator.data.standard_errors import FOLDER, standard_errors, unpacked
from evaluator.data.tensors import Examples, examples
from evaluator.defenses import standard_errors as asking
from evaluator.defenses.recipes import BASELINES
from evaluator.ensembles import Sequence, Stage, standard
from evaluator.ensembles.base import Ensemble
from evaluator.judging.corruption_table import tabulated
from evaluator.judging.defense import Defense
from evaluator.judging.evaluation import COMPANY, Verdict, evaluate
from evaluator.manifests.data_specs import DATA, DataSpec
from evaluator.models.reading import Votes, WithDetector
from evaluator.threats import Corruptions, Linf
from evaluator.threats.corruptions import KINDS
from tests.evaluator.support import shipped

QUICK = Sequence("quick", (Stage("FGSM", FGSM()),))
THREAT = Corruptions((2, 5), ("fog", "contrast", "pixelate"), realizations=2)


class Brightness(nn.Module):
    """Class 1 where an image is brighter than a third; notes everything it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[bytes] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked += [image.numpy().tobytes() for image in x.detach()]
        over = x.flatten(1).mean(dim=1) - 0.33
        return torch.stack([-over, over], dim=1)


def pictures(n: int = 7) -> Examples:
    """Some of them misclassified as they are."""
    x = torch.rand(n, 1, 16, 16, generator=torch.Generator().manual_seed(3)) * torch.linspace(0.4, 1, n).reshape(-1, 1, 1, 1)
    return Examples(torch.arange(n), x, torch.tensor([1, 0] * n)[:n], 2)


def by_hand(model: nn.Module, part: Examples, threat: Corruptions) -> list[list[int]]:
    """Errors counted with one image at a time."""
    counts = [[0] * len(threat.severities) for _ in threat.kinds]
    for x, y in zip(part.x.split(1), part.y.tolist(), strict=True):
        for kind in range(len(threat.kinds)):
            for place, severity in enumerate(threat.severities):
                shown = threat.apply(x, torch.tensor([[kind + 1.0, severity, 0.0]]))
                counts[kind][place] += int(model(shown).argmax(dim=1) != y)
    return counts


def judged(model: nn.Module, part: Examples, ensemble: Ensemble | None = None) -> Verdict:
    return evaluate(Defense.of(model), part, THREAT, ensemble or standard(THREAT), seed=1, corruptions=THREAT)


def test_the_table_counts_every_image_also_those_that_are_wrong_as_they_are() -> None:
    part, model = pictures(), Brightness()
    verdict = judged(model, part)
    assert 0 < int(verdict.correct.sum()) < len(part)
    assert verdict.errors is not None
    record = tabulated(verdict.errors, verdict.correct, part, THREAT)
    assert record.errors == by_hand(model, part, THREAT)
    assert record.clean_errors == int((~verdict.correct).sum())
    assert (record.kinds, record.severities) == (["fog", "contrast", "pixelate"], [2, 3, 4, 5])
    assert record.standard is None, "nobody has asked the standard network about these images"


def test_the_worst_case_and_the_table_come_of_the_same_answers() -> None:
    part, model = pictures(), Brightness()
    verdict = judged(model, part)
    assert verdict.errors is not None
    one = Corruptions(THREAT.severity, THREAT.kinds)
    alone = evaluate(Defense.of(model), part, one, standard(one), seed=1, corruptions=one)
    assert alone.errors is not None
    assert torch.equal(alone.robust, alone.correct & ~alone.errors.flatten(1).any(dim=1))
    assert bool((verdict.robust <= alone.robust).all()), "more realizations break no fewer"


def test_there_is_no_second_pass_the_search_and_the_table_ask_about_each_form_once() -> None:
    part, opened = pictures(), list[Brightness]()

    def fresh() -> nullcontext[Brightness]:
        opened.append(Brightness())
        return nullcontext(opened[-1])

    verdict = evaluate(Defense(fresh), part, THREAT, standard(THREAT), seed=1, corruptions=THREAT)
    correct, forms = int(verdict.correct.sum()), 3 * 4
    searched = correct * forms * THREAT.realizations
    assert sum(record.forward_rows for record in verdict.attacks[:3]) == searched
    (beside,) = (record.forward_rows for record in verdict.attacks if record.name == COMPANY)
    own = len(part) + searched + (len(part) - correct) * forms
    assert own <= len(opened[0].asked) <= own + beside, "first the clean images"


def test_another_board_may_show_the_table_too() -> None:
    part, model = pictures(), Brightness()
    verdict = evaluate(Defense.of(model), part, Linf(0.01), QUICK, seed=1, corruptions=THREAT)
    assert verdict.errors is not None
    assert tabulated(verdict.errors, verdict.correct, part, THREAT).errors == by_hand(model, part, THREAT)
    plain = evaluate(Defense.of(model), part, Linf(0.01), QUICK, seed=1)
    assert plain.errors is None


@pytest.mark.parametrize("reading", [Votes(), WithDetector()])
def test_answers_are_read_as_they_are_declared(reading: Votes | WithDetector) -> None:
    class Refusing(Brightness):
        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            return torch.cat([logits, torch.ones(len(x), 1)], dim=1) if reading.refuses else logits

    part = pictures(4)
    verdict = evaluate(Defense.of(Refusing(), reading), part, Linf(0.01), QUICK, seed=1, corruptions=THREAT)
    assert verdict.errors is not None
    counts = tabulated(verdict.errors, verdict.correct, part, THREAT).errors
    assert counts == ([[4] * 4] * 3 if reading.refuses else by_hand(Brightness(), part, THREAT)), "a refusal is an error"


@pytest.mark.parametrize("dataset", DATA)
@pytest.mark.parametrize("count", [3, pytest.param(10_000, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)])])
def test_the_stored_errors_of_the_standard_networks_are_theirs(dataset: str, count: int) -> None:
    count = min(count, DATA[dataset].compared)
    known = asking.measure(dataset, count)  # type: ignore[arg-type]
    part = examples(DataSpec(dataset=dataset, split="test", examples=count))  # type: ignore[arg-type]
    stored = standard_errors(part.digest, part.ids.tolist(), list(KINDS), (1, 2, 3, 4, 5))
    assert stored is not None
    weights = (BASELINES / f"{dataset}-standard" / "weights.safetensors").read_bytes()
    assert known["weights"] == hashlib.sha256(weights).hexdigest()
    assert f'"weights": "{known["weights"]}"' in (FOLDER / f"{dataset}.json").read_text()
    errors = unpacked(known["errors"], (count, 15, 5)).sum(axis=0, dtype=int).tolist()
    assert (stored.network, stored.errors) == (f"{dataset}-standard", errors)
    assert stored.clean_errors == int(unpacked(known["clean"], (count,)).sum())


def test_errors_of_images_that_nobody_has_asked_about_are_unknown() -> None:
    part = examples(DataSpec(dataset="mnist", split="test", examples=2))
    assert standard_errors("0" * 64, [0], ["fog"], (1,)) is None
    assert standard_errors(part.digest, [DATA["mnist"].compared], ["fog"], (1,)) is None
    one = standard_errors(part.digest, [0, 1], ["fog", "jpeg"], (5,))
    assert one is not None
    assert np.array(one.errors).shape == (2, 1)


def test_the_shipped_standard_network_has_an_mce_of_1() -> None:
    part, threat = (
        examples(DataSpec(dataset="mnist", split="test", examples=12)),
        Corruptions((4, 5), ("fog", "contrast", "frost")),
    )
    verdict = evaluate(Defense.of(shipped("mnist-standard")), part, threat, standard(threat), seed=0, corruptions=threat)
    assert verdict.errors is not None
    assert tabulated(verdict.errors, verdict.correct, part, threat).mce == 1.0
