"""The automatic adaptive attack: honest backward passes of the host, votes on fresh randomness, falls on the model itself."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluator.adaptive.automatic import Automatic
from evaluator.attacks import PGD
from evaluator.attacks.base import Batch
from evaluator.checks import Honest
from evaluator.data import examples
from evaluator.data.tensors import Examples
from evaluator.defenses.reference.base import standard_network
from evaluator.defenses.reference.golden import FOLDER, GOLDEN
from evaluator.draws import Draws
from evaluator.ensembles import Sequence, Stage
from evaluator.errors import InputError, SubmissionError
from evaluator.host.backward import Backwards, declared_substitutes
from evaluator.host.load import load_submission, read_manifest
from evaluator.judging.defense import Defense
from evaluator.judging.evaluation import Verdict, evaluate
from evaluator.manifests.data_specs import DataSpec
from evaluator.models.meter import Meter, MeteredModel
from evaluator.models.reading import Votes, reading_of
from evaluator.threats import Linf
from evaluator.wanted import Wanted
from tests.evaluator.hosts import hosted, write_submission

THREAT = Linf(0.3)
QUICK = Sequence("quick", (Stage("PGD", PGD(steps=20)),))
ROUNDING = """
import torch
from torch import nn

class Round(nn.Module):
    def forward(self, x):
        return (x * 3).round() / 3

def load(directory):
    torch.manual_seed(0)
    return nn.Sequential(Round(), nn.Flatten(), nn.Linear(36, 3))
"""
DECLARED = "def substitutes(model):\n    return {'0': lambda x: 2 * x}\n"


def mnist(count: int) -> Examples:
    return examples(DataSpec(dataset="mnist", split="test", examples=count))


def gradient(model: nn.Module, x: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_(True)
    (answer,) = torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)
    return answer


def rounding(tmp_path: Path, *, declare: bool) -> Path:
    folder = write_submission(tmp_path / "submission", ROUNDING)
    if declare:
        with (folder / "defense.toml").open("a") as manifest:
            manifest.write('bpda = "bpda.py"\n')
        (folder / "bpda.py").write_text(DECLARED)
    return folder


def test_the_host_serves_the_declared_and_the_straight_through_gradient_and_the_same_answers(tmp_path: Path) -> None:
    folder, x = rounding(tmp_path, declare=True), torch.rand(4, 1, 6, 6)
    weights = load_submission(folder)[2].weight[0].reshape(1, 1, 6, 6).expand(4, -1, -1, -1)  # type: ignore[index, union-attr, operator]
    with hosted(folder) as model:
        own, through = model(x), model.with_backward("straight-through")
        declared = model.with_backward("declared")
        leaf = x.clone().requires_grad_(True)
        assert torch.equal(own, through(leaf))
        assert torch.equal(own, declared(leaf))
        assert torch.equal(gradient(model, x), torch.zeros_like(x))
        assert torch.allclose(gradient(through, x), weights)
        assert torch.allclose(gradient(declared, x), 2 * weights)


def test_an_undeclared_stand_in_is_refused_with_a_reason() -> None:
    with pytest.raises(InputError, match="declares no stand-ins"), Backwards(nn.Linear(2, 2), {}).use("declared"):
        pass


def test_a_stand_in_for_a_part_that_does_not_exist_fails_the_load(tmp_path: Path) -> None:
    folder = rounding(tmp_path, declare=True)
    (folder / "bpda.py").write_text("def substitutes(model):\n    return {'nothing': abs}\n")
    with pytest.raises(SubmissionError, match="nothing"):
        declared_substitutes(folder, read_manifest(folder), load_submission(folder))


@pytest.mark.parametrize("entry", ["k_bit", "magnet", "lying_backward", "kwta"])
def test_straight_through_gradients_give_the_answers_of_the_model_and_a_gradient_everywhere(entry: str) -> None:
    model, x = load_submission(FOLDER / entry), mnist(4).x
    backwards = Backwards(model, {})
    with backwards.use("straight-through"):
        leaf = x.clone().requires_grad_(True)
        logits = model(leaf)
        (slope,) = torch.autograd.grad(logits[:, 0].sum(), leaf)
    assert torch.equal(logits.detach(), model(x))
    assert bool((slope != 0).flatten(1).any(dim=1).all())


def test_without_its_parts_a_defense_is_the_network_that_it_was_built_around() -> None:
    model, x = load_submission(FOLDER / "magnet"), mnist(4).x
    with Backwards(model, {}).use("removed"):
        leaf = x.clone().requires_grad_(True)
        bare = model(leaf)
        (slope,) = torch.autograd.grad(bare[:, 0].sum(), leaf)
    assert torch.equal(bare, standard_network()(x))
    assert torch.equal(slope, gradient(standard_network(), x))
    assert not torch.equal(bare, model(x)), "the parts are back"


class Gate(nn.Module):
    """The first half of the input answers where its mean exceeds that of the second, else the second half."""

    def forward(self, x: Tensor) -> Tensor:
        one, other = x[:, :2], 3 * x[:, 2:]
        return torch.where((one.mean(dim=1) > other.mean(dim=1))[:, None], one, other)


def test_both_sides_of_a_gate_get_a_gradient_and_the_answer_stays() -> None:
    model, x = Gate(), torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
    assert bool((gradient(model, x) == 0).any())
    with Backwards(model, {}).use("straight-through"):
        leaf = x.clone().requires_grad_(True)
        answer = model(leaf)
        (slope,) = torch.autograd.grad(answer[:, 0].sum(), leaf)
    assert torch.equal(answer.detach(), model(x))
    assert torch.equal(slope, torch.tensor([[1.0, 0.0, 3.0, 0.0]]).expand(6, 4))


class Local:
    """A loaded submission with its backward passes, in this process."""

    def __init__(self, model: nn.Module, backward: str = "own", backwards: Backwards | None = None) -> None:
        self.model, self.backward, self.backwards = model, backward, backwards or Backwards(model, {})

    def with_backward(self, name: str) -> Local:
        return Local(self.model, name, self.backwards)

    def __call__(self, x: Tensor) -> Tensor:
        with self.backwards.use(self.backward):
            logits: Tensor = self.model(x)
        return logits


@pytest.mark.parametrize("entry", ["magnet", "lying_backward", "pixel_defend"])
def test_what_hides_its_gradient_falls_to_the_straight_through_pass_on_the_unmodified_model(entry: str) -> None:
    part, model = mnist(12), load_submission(FOLDER / entry)
    batch = Batch(part.x, part.y, Draws(0, part.ids))[model(part.x).argmax(dim=1) == part.y]
    found = Automatic().run(MeteredModel(Local(model), Meter(), classes=10), batch, THREAT)
    assert bool(found.broken.all())
    assert bool((model(found.points).argmax(dim=1) != batch.y).all())
    assert bool(THREAT.contains(batch.x, found.points, slack=0).all())
    assert sum(name.startswith("straight-through") for name in found.by) >= 0.8 * len(batch)


def test_a_coin_is_not_broken_by_the_best_of_many_draws() -> None:
    """Right in three of four passes whatever the input: never broken, although single draws fail all the time."""
    generator = torch.Generator().manual_seed(0)

    def coin(x: Tensor) -> Tensor:
        wrong = torch.rand(len(x), generator=generator) < 0.25
        return torch.nn.functional.one_hot(wrong.long(), 2).float() + 0 * x.flatten(1)[:, :1]

    x, y = torch.rand(16, 1, 4, 4), torch.zeros(16, dtype=torch.int64)
    batch = Batch(x, y, Draws(0, torch.arange(16)))
    found = Automatic(random=True, most_samples=2, steps=5).run(MeteredModel(coin, Meter(), classes=2), batch, THREAT)
    assert not bool(found.broken.any())


def biased(x: Tensor, generator: torch.Generator) -> Tensor:
    """Right in nine of ten passes on a plain grey image, in a quarter of them as soon as its pixels differ."""
    wrong = torch.rand(len(x), generator=generator) < torch.where(x.flatten(1).std(dim=1) > 0.05, 0.75, 0.1)
    return torch.nn.functional.one_hot(wrong.long(), 2).float() + 0 * x.flatten(1)[:, :1]


def test_what_the_votes_break_without_room_to_spare_is_the_last_claim() -> None:
    generator, votes = torch.Generator().manual_seed(1), Votes(8)
    part = Examples(torch.arange(16), torch.full((16, 1, 4, 4), 0.5), torch.zeros(16, dtype=torch.int64), classes=2)
    automatic = Automatic(random=True, most_samples=1, steps=2)
    model = MeteredModel(lambda x: biased(x, generator), Meter(), classes=2)
    found = automatic.run(model, Batch(part.x, part.y, Draws(0, part.ids), reading=votes), THREAT)
    assert bool((found.broken | found.barely).all())
    assert bool(found.barely.any())
    assert not bool((found.broken & found.barely).any())
    quick = Sequence("quick", (Stage("PGD", PGD(steps=1, random_start=False)),))
    defense = Defense.of(lambda x: biased(x, generator), votes)
    verdict = evaluate(defense, part, THREAT, Honest(quick), seed=0)
    assert int(verdict.correct.sum()) == 16
    assert int(verdict.robust.sum()) <= 1, "a quarter of 64 votes fails the test of verification in one of fifty cases"


def test_votes_follow_the_exact_binomial_tail() -> None:
    y = torch.zeros(3, dtype=torch.int64)
    counts = torch.tensor([[23, 41], [22, 42], [32, 32]])
    # P(Binomial(64, 1/2) <= 23) = 0.0164, P(<= 22) = 0.0084
    assert Votes(1).broken(counts, Wanted(y)).tolist() == [False, True, False]


def test_several_votes_compare_the_true_class_with_the_leader() -> None:
    y = torch.zeros(2, dtype=torch.int64)
    counts = torch.tensor([[26, 10, 10, 9, 9], [7, 40, 7, 5, 5]])
    assert Votes(1).broken(counts, Wanted(y)).tolist() == [False, True]
    assert Votes(8).broken(counts, Wanted(y)).tolist() == [False, True]
    assert counts.argmax(dim=1).tolist() == [0, 1]


def judged(name: str, count: int) -> Verdict:
    folder = FOLDER / name
    manifest = read_manifest(folder)

    def fresh() -> AbstractContextManager[nn.Module]:
        return hosted(folder, classes=10, reply_seconds=60)

    honest = Honest(QUICK, bpda=manifest.bpda is not None)
    return evaluate(Defense(fresh, reading_of(manifest)), mnist(count), THREAT, honest, seed=0)


def test_a_declared_thermometer_falls_and_leaves_no_doubt() -> None:
    verdict = judged("thermometer", 10)
    assert int(verdict.robust.sum()) == 0
    assert [flag.check for flag in verdict.flags if flag.severity == "unverified"] == []


def test_an_undeclared_purifier_falls_and_the_flags_say_why() -> None:
    verdict = judged("magnet", 10)
    assert int(verdict.robust.sum()) == 0
    assert {"zero-gradients", "adaptive-attack"} <= {flag.check for flag in verdict.flags if flag.severity == "unverified"}


def test_declared_randomness_is_averaged_and_scored_by_votes_without_a_doubt() -> None:
    verdict = judged("noise_layers", 8)
    assert int(verdict.robust.sum()) == 0  # its coins are its own: of 1,440 images none outlived the search
    assert {flag.check: flag.severity for flag in verdict.flags} == {"randomness": "info"}


def test_every_reference_entry_has_its_golden_line_and_loads() -> None:
    folders = {path.parent.name for path in FOLDER.glob("*/defense.toml")}
    assert folders == {golden.name for golden in GOLDEN}
    for golden in GOLDEN:
        manifest = read_manifest(golden.folder)
        assert golden.vouched == (manifest.randomized or manifest.detector or manifest.bpda is not None)
        assert all(path.stat().st_size < 500_000 for path in golden.folder.iterdir() if path.is_file())


class Unary(nn.Module):
    """An undeclared unary code without a gradient and without its input's shape."""

    def forward(self, x: Tensor) -> Tensor:
        return (x > torch.arange(10).reshape(1, -1, 1, 1) / 10).float()


def test_a_learned_substitute_finds_the_slope_of_an_encoding_where_the_identity_has_not_even_its_shape() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(Unary(), nn.Flatten(), nn.Linear(10 * 36, 3)), torch.rand(4, 1, 6, 6) * 0.8 + 0.1
    backwards, slopes = Backwards(model, {}), {}
    for name in ("straight-through", "learned"):
        with backwards.use(name):
            leaf = x.clone().requires_grad_(True)
            logits = model(leaf)
            (slopes[name],) = torch.autograd.grad(logits[:, 0].sum(), leaf, materialize_grads=True)
        assert torch.equal(logits.detach(), model(x))
    assert not bool(slopes["straight-through"].any())
    # each pixel's code rises by one level per tenth: the mean slope is ten times the mean weight of its levels nearby
    step = 0.2
    rise = (model(x + step)[:, 0] - model(x - step)[:, 0]) / (2 * step)
    found = slopes["learned"].flatten(1).sum(dim=1)
    assert functional.cosine_similarity(found, rise.detach(), dim=0).item() > 0.9
