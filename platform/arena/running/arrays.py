"""Array submissions: their points, and every claim that cannot count, found without asking any model. Needs torch."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from evaluator.data import Examples
from evaluator.data import examples as ranked_examples
from evaluator.host.attack_serve import read_attack_manifest
from evaluator.judging.array_claims import read_array
from evaluator.judging.claims import check_claims
from evaluator.judging.goals import build_goal
from evaluator.manifests.spec import Pack
from evaluator.records.cell_report import Violation
from evaluator.threats import Threat, build


def check_array(pack: Pack, attack: Path) -> list[Violation]:
    """Every example whose claim cannot count, by kind: finiteness, box and budget, in float64.

    attack: an unpacked folder. Raises SubmissionError for an array that cannot be read or has another shape or type.
    """
    examples, threat = ranked_examples(pack.challenge.data), build(pack.challenge.threat)
    goal = build_goal(pack.challenge.goal, pack.challenge.data)
    points = read_points(pack, attack, examples, threat)
    return check_claims(goal.points(points, examples, threat), examples, threat).violations


def read_points(pack: Pack, attack: Path, examples: Examples, threat: Threat) -> Tensor:
    """(n, *point) float32 for all the challenge's examples, in data order; `examples` may be the first few of them.

    On a board of one perturbation for all, that perturbation, (1, *point).

    Raises SubmissionError for an array that cannot be read or has another shape or type.
    """
    point = threat.start(examples.x[:1]).shape[1:]
    rows = 1 if pack.challenge.goal.kind == "universal" else pack.challenge.data.examples
    return read_array(attack / str(read_attack_manifest(attack).array), (rows, *point))
