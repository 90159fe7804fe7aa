"""A new threat is one file and one manifest class: registered here, it is read, searched, checked, reported and worded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
import torch
from brightness import Brightness
from packs import BASELINE
from pydantic import Field

from arena.running.defense import Request, run_defense
from arena.web.figures import Words
from evaluator.attacks.apgd import APGD
from evaluator.attacks.registry import entries
from evaluator.checks.base import registered
from evaluator.checks.table import measured_under
from evaluator.data import examples as ranked_examples
from evaluator.errors import InputError
from evaluator.host.load import load_submission
from evaluator.manifests.kinds import register
from evaluator.manifests.spec import Challenge, Pack, parse_toml
from evaluator.manifests.strict import Real
from evaluator.manifests.threat_base import About, InSum, ThreatSpec
from evaluator.manifests.threat_specs import SumSpec
from evaluator.records.report import Completed
from evaluator.threats import Linf, Sum, build, table
from sandbox.choose import open_sandbox


class BrightnessSpec(InSum):
    """Every pixel changes by the same amount, at most `epsilon`."""

    about = About("brightness", "1 number", "`epsilon`, [0, 1] units", "exactly uniform", "nobody")
    threat = "brightness:Brightness"
    kind: Literal["brightness"]
    epsilon: Real = Field(gt=0, le=1)

    @property
    def words(self) -> str:
        return f"brightness ≤ {self.epsilon:g}"


@pytest.fixture(scope="module", autouse=True)
def _known() -> Iterator[None]:
    """Registered as in production, but late: tables that were read into classes before are read again."""
    register(BrightnessSpec)
    late = (SumSpec, Challenge, Pack)
    for model in late:
        model.model_rebuild(force=True)
    yield
    del ThreatSpec.registry["brightness"]
    for model in (ThreatSpec, InSum, *late):
        model.model_rebuild(force=True)


def bright_or_dark(x: torch.Tensor) -> torch.Tensor:
    """Class 0 where an image is bright."""
    light = x.flatten(1).mean(dim=1) - 0.2
    return torch.stack([light, -light], dim=1)


def challenge(threat: str, rest: str = "") -> Challenge:
    text = f'title = "Light"\n[data]\ndataset = "mnist"\nexamples = 4\n[threat]\n{threat}\n{rest}'
    return parse_toml(text.encode(), Challenge, where="challenge.toml")


@pytest.mark.parametrize(
    ("threat", "rest", "said"),
    [
        ('kind = "brightnes"\nepsilon = 0.1', "", 'Did you mean "brightness"?'),
        ('kind = "brightness"\nepsilon = 2', "", "line 7, threat.epsilon: must be at most 1, not 2"),
        ('kind = "brightness"\nepsilom = 0.1', "", 'Did you mean "epsilon"?'),
        ('kind = "sum"\nparts = [{kind = "brightness", epsilon = 0.1}, {kind = "l0", epsilon = 3}]', "", '"brightness"'),
        ('kind = "brightness"\nepsilon = 0.1', '[access]\noutside = "refused"', 'not "brightness"'),
        ('kind = "brightness"\nepsilon = 0.1', "[certified]\nradii = [0.1]", 'of kind linf, l2 or l1, not "brightness"'),
        ('kind = "union"\nmembers = [{kind = "brightness", epsilon = 0.1}]', "", 'must be "linf", "l2", "l1" or "l0"'),
    ],
)
def test_what_is_wrong_with_its_manifest_is_said_in_the_same_words(threat: str, rest: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        challenge(threat, rest)
    assert said in str(error.value)


def test_it_is_built_alone_and_as_part_of_a_sum() -> None:
    assert build(challenge('kind = "brightness"\nepsilon = "8/255"').threat) == Brightness(8 / 255)
    both = 'kind = "sum"\nparts = [{kind = "brightness", epsilon = 0.1}, {kind = "linf", epsilon = 0.02}]'
    assert build(challenge(both).threat) == Sum((Brightness(0.1), Linf(0.02)))


def test_its_words_stand_on_pages_and_in_the_documentation() -> None:
    described = challenge('kind = "brightness"\nepsilon = 0.25')
    assert Words.of(described).threat == "brightness ≤ 0.25 in [0, 1]"
    assert "| `brightness` | brightness | 1 number |" in table()


def test_attacks_for_any_threat_attack_it_and_checks_that_need_no_more_than_it_has_look_at_it() -> None:
    threat, can = Brightness(0.1), {entry.name for entry in entries() if entry.factory.can_do(Brightness(0.1))}
    assert {"pgd", "apgd", "random_search"} <= can
    assert "cw_l2" not in can
    x = torch.full((3, 1, 4, 4), 0.5)
    points = APGD(steps=5)(bright_or_dark, x, torch.zeros(3, dtype=torch.int64), threat)
    assert torch.equal(points, torch.full((3, 1), -0.1))
    assert bool(threat.contains(x, points).all())
    told = {check.name for check in registered() if "brightness" in measured_under(check)}
    assert told == {check.name for check in registered() if check.needs is not None and check.applies(threat)}
    assert "incomplete-optimisation" in told
    assert "large-epsilon" not in told


def test_a_defense_is_judged_under_it_and_the_report_names_the_parts_of_the_search() -> None:
    pack = Pack(slug="light", folder=None, challenge=challenge('kind = "brightness"\nepsilon = 0.6'), digest="0" * 64)
    outcome = run_defense(Request(pack=pack, submission=BASELINE, seed=3), sandbox=open_sandbox("auto"))
    assert isinstance(outcome, Completed), outcome
    report = outcome.report
    assert "worst of 100, climbed" in [attack.name for attack in report.attacks]
    assert "random search canary" in [attack.name for attack in report.attacks]
    data, model = ranked_examples(pack.challenge.data), load_submission(BASELINE)
    shifts = torch.linspace(-0.6, 0.6, 241)
    with torch.no_grad():
        right = torch.stack([model((data.x + shift).clamp(0, 1)).argmax(dim=1) == data.y for shift in shifts]).all(dim=0)
    assert report.robust_bits == right.int().tolist(), "one number can be tried out, and the search misses nothing"
    assert 0 < sum(report.robust_bits) < sum(report.correct_bits)
