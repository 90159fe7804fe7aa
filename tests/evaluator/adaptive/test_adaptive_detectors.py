"""Declared detectors: refusing a clean image is an error, a refused claim is none, and the attack fools both at once."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from evaluator.adaptive.automatic import Automatic
from evaluator.adaptive.joint import Joint
from evaluator.attacks import PGD
from evaluator.attacks.base import Batch
from evaluator.attacks.losses import LOSSES
from evaluator.checks import Honest, Subject, examine, registered
from evaluator.data.tensors import Examples
from evaluator.draws import Draws
from evaluator.ensembles import Sequence, Stage, standard
from evaluator.errors import InputError, SubmissionError
from evaluator.judging.defense import Defense
from evaluator.judging.evaluation import Verdict, evaluate
from evaluator.judging.verification import verify
from evaluator.manifests.spec import DefenseManifest, parse_toml
from evaluator.models.meter import Meter, MeteredModel
from evaluator.models.reading import ARGMAX, Reading, WithDetector
from evaluator.threats import Linf
from tests.evaluator.hosts import hosted, write_submission

DETECTOR = WithDetector()
THREAT = Linf(0.2)
COUNT, FEATURES = 12, 64
GREY = 0.5 + 0.001 * torch.rand(COUNT, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def directions() -> tuple[Tensor, Tensor]:
    """Two orthogonal rows of signs."""
    one = torch.ones(FEATURES)
    other = torch.cat([torch.ones(FEATURES // 2), -torch.ones(FEATURES // 2)])
    return one, other


class Guarded(nn.Module):
    """Two classes; the shortest way over the boundary is the one that the detector watches.

    With a and b the moves along two orthogonal directions: the margin to the other class is 2 a + b - 2, the score 4 a - 2.
    """

    def __init__(self, *, offset: float = -2.0) -> None:
        super().__init__()
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        moved = x.flatten(1) - 0.5
        a, b = (moved @ direction / 4 for direction in directions())
        rises = 2 * a + b - 2
        return torch.stack([torch.zeros_like(rises), rises, 4 * a + self.offset], dim=1)


def examples() -> Examples:
    return Examples(torch.arange(COUNT), GREY, torch.zeros(COUNT, dtype=torch.int64), classes=2)


def asked(model: nn.Module) -> MeteredModel:
    """The model as a search sees it."""
    return MeteredModel(model, Meter(), classes=2, reading=DETECTOR)


def batch(reading: Reading = DETECTOR) -> Batch:
    part = examples()
    return Batch(part.x, part.y, Draws(0, part.ids), reading=reading)


def judged(model: nn.Module) -> Verdict:
    return evaluate(Defense.of(model, DETECTOR), examples(), THREAT, Honest(standard(THREAT)), seed=0)


def test_the_score_is_a_shift_that_no_attack_loss_sees() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, score = 5 * torch.randn(6, 10, generator=generator), torch.randn(6, 1, generator=generator)
    climbed = DETECTOR.climbed(torch.cat([logits, score], dim=1))
    found = DETECTOR.answer(climbed).score
    assert found is not None
    assert torch.allclose(found, score[:, 0], atol=1e-5)
    assert torch.equal(DETECTOR.refused(climbed), score[:, 0] > 0)
    part = Batch(torch.zeros(6, 1), torch.arange(6), Draws(0, torch.arange(6)))
    for loss in LOSSES.values():
        assert torch.allclose(loss(climbed, part), loss(logits, part), atol=1e-4)


def test_a_score_of_exactly_zero_accepts_whatever_the_size_of_the_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    for size in (1e-3, 1.0, 1e5):
        answers = torch.cat([size * torch.randn(500, 10, generator=generator), torch.zeros(500, 1)], dim=1)
        assert not bool(DETECTOR.refused(DETECTOR.climbed(answers)).any())


def test_refusing_a_clean_image_is_an_error() -> None:
    verdict = judged(Guarded(offset=0.1))
    assert not bool(verdict.correct.any())
    assert not bool(verdict.robust.any())


def test_a_refused_input_is_no_success_and_the_same_answers_without_a_detector_fall() -> None:
    strict, x = asked(Guarded(offset=-0.1)), GREY + 0.15
    assert not bool(batch().success(strict(x)).any())
    assert bool(batch(ARGMAX).success(strict(x)).all())


@pytest.mark.parametrize("by", ["sum", "orthogonal"])
def test_the_joint_loss_goes_round_the_detector_where_the_margin_runs_into_it(by: str) -> None:
    model, part = asked(Guarded()), batch()
    blind = PGD(steps=50, loss="margin", random_start=False)(model, part.x, part.y, THREAT)
    assert bool(((model(blind).argmax(dim=1) != part.y) & DETECTOR.refused(model(blind))).all()), "fooled, but noticed"
    points = Joint(steps=100, by=by).run(model, part, THREAT)  # type: ignore[arg-type]
    assert bool(part.success(model(points)).all())
    assert bool(THREAT.contains(part.x, points, slack=0).all())


def test_a_refused_claim_does_not_outlive_verification() -> None:
    part, claimed = examples(), torch.ones(COUNT, dtype=torch.bool)
    strict, points = asked(Guarded(offset=-0.1)), GREY + 0.15
    checked = verify(strict, part, THREAT, points, claimed, 0, DETECTOR)
    assert bool(checked.correct.all())
    assert not bool(checked.broken.any())
    assert bool(verify(strict, part, THREAT, points, claimed, 0).broken.all())


def test_orthogonal_gradients_climb_one_goal_and_leave_the_other_where_it_is() -> None:
    watched, free = directions()
    for points in (GREY, GREY + 0.15):
        sight = Joint(by="orthogonal")._look(asked(Guarded()), batch(), THREAT, points, torch.ones(COUNT, 2))
        fooled = Guarded()(points)[:, :2].argmax(dim=1) == 1
        other = torch.where(fooled[:, None], 2 * watched + free, watched)  # the gradient of the goal that waits
        assert bool((sight.direction.flatten(1) * other).sum(dim=1).abs().max() < 1e-3)
        assert bool((sight.direction != 0).flatten(1).any(dim=1).all())


def test_an_example_does_not_depend_on_its_neighbours() -> None:
    for by in ("sum", "orthogonal"):
        together = Joint(steps=10, by=by).run(asked(Guarded()), batch(), THREAT)
        alone = Joint(steps=10, by=by).run(asked(Guarded()), batch()[3:4], THREAT)
        assert torch.equal(alone[0], together[3])


def test_the_automatic_attack_begins_with_the_joint_loss_and_names_it() -> None:
    found = Automatic().run(asked(Guarded()), batch(), THREAT)
    assert bool(found.broken.all())
    assert set(found.by) <= {"declared detector, joint loss", "declared detector, orthogonal gradients"}


def test_a_declared_detector_is_no_doubt_and_what_falls_is_verified_to_be_accepted() -> None:
    verdict = judged(Guarded())
    assert bool(verdict.correct.all())
    assert not bool(verdict.robust.any())
    assert bool((Guarded()(verdict.points)[:, 2] <= 0).all())
    assert [flag for flag in verdict.flags if flag.severity == "unverified"] == []


def test_decisions_tell_a_refusal_and_nothing_of_the_logits() -> None:
    answers = DETECTOR.decisions(asked(Guarded()))(torch.cat([GREY[:1], GREY[:1] + 0.15]))
    assert DETECTOR.refused(answers).tolist() == [False, True]
    assert answers.argmax(dim=1).tolist() == [0, 1]
    assert len(answers.double().round(decimals=4).unique()) == 4


SCORING = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(36, COLUMNS)

    def forward(self, x):
        return self.last(x.flatten(1))

def load(directory):
    torch.manual_seed(0)
    return Net()
"""


def scoring(folder: Path, columns: int) -> Path:
    write_submission(folder, SCORING.replace("COLUMNS", str(columns)))
    with (folder / "defense.toml").open("a") as manifest:
        manifest.write("detector = true\n")
    return folder


def test_the_score_is_a_column_of_its_own_on_the_wire_and_has_a_gradient_behind_it(tmp_path: Path) -> None:
    x = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    last = nn.Linear(36, 4)
    with hosted(scoring(tmp_path / "scoring", 4)) as model:
        assert model(x).shape == (3, 4)
        assert torch.equal(model(x), last(x.flatten(1)).detach())
        leaf = x.clone().requires_grad_(True)
        score = DETECTOR.answer(MeteredModel(model, Meter(), classes=3, reading=DETECTOR)(leaf)).score
        assert score is not None
        (slope,) = torch.autograd.grad(score.sum(), leaf)
    assert torch.allclose(score.detach(), last(x.flatten(1))[:, 3].detach(), atol=1e-5)
    assert torch.allclose(slope.flatten(1), last.weight[3].detach().expand(3, -1), atol=1e-5)


def test_a_detector_without_its_column_is_shown_what_is_missing(tmp_path: Path) -> None:
    with (
        hosted(scoring(tmp_path / "short", 3)) as model,
        pytest.raises(SubmissionError, match="detector = true one column more"),
    ):
        MeteredModel(model, Meter(), classes=3, reading=DETECTOR)(torch.rand(2, 1, 6, 6))


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        ('format = "python"\nentry = "d.py"\ndetector = "detector.py"\n', "detector: must be true or false"),
        ('format = "python"\nentry = "d.py"\ndetectors = true\n', 'Did you mean "detector"'),
        (
            'format = "python"\nentry = "d.py"\ndetector = true\nrandomized = true\n',
            "cannot be judged together with randomized",
        ),
        ('format = "safetensors"\narchitecture = "mnist-cnn"\nweights = "w"\ndetector = true\n', 'needs format "python"'),
        (
            'format = "python"\nentry = "d.py"\ndetector = true\n[certificate]\nmethod = "smoothing"\nsigma = 0.5\n',
            "cannot be certified",
        ),
    ],
)
def test_a_wrong_declaration_is_refused_in_words(rest: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_toml(f'name = "d"\n{rest}'.encode(), DefenseManifest, where="defense.toml")
    assert told in str(caught.value)


class Thresholded(Guarded):
    """The score is a yes or a no."""

    def forward(self, x: Tensor) -> Tensor:
        answers = super().forward(x)
        return torch.cat([answers[:, :2], (answers[:, 2:] > 0).float()], dim=1)


def test_a_declared_score_without_a_gradient_is_a_doubt_of_its_own() -> None:
    findings = {}
    for model in (Guarded(), Thresholded()):
        subject = Subject(asked(model), batch(ARGMAX), THREAT, DETECTOR)
        (findings[type(model)],) = examine(subject, [check for check in registered() if check.name == "zero-gradients"])
    assert not findings[Guarded].fired
    assert (findings[Thresholded].fired, findings[Thresholded].severity) == (True, "unverified")
    assert f"that of the detector's score for {COUNT}" in findings[Thresholded].evidence


class Silent(nn.Module):
    """The same detector, undeclared: what it refuses gets the same answer to everything."""

    def forward(self, x: Tensor) -> Tensor:
        answers = Guarded(offset=-0.5)(x)
        return torch.where(answers[:, 2:] > 0, torch.tensor([0.5, 0.4]), answers[:, :2])


def test_an_undeclared_detector_leaves_the_entry_unverified_and_the_flag_says_what_to_declare() -> None:
    quick = Sequence("quick", (Stage("PGD", PGD(steps=20)),))
    verdict = evaluate(Defense(lambda: nullcontext(Silent())), examples(), THREAT, Honest(quick), seed=0)
    flags = {flag.check: flag.severity for flag in verdict.flags}
    assert flags["traffic-anomalies"] == "unverified"
