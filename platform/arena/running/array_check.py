"""Checks every claim of an array submission without asking any model. Knows no Django; needs torch."""

from __future__ import annotations

from pathlib import Path

from evaluator.data import examples as ranked_examples
from evaluator.host.attack_serve import read_attack_manifest
from evaluator.judging.array_claims import read_array
from evaluator.judging.claims import check_claims
from evaluator.manifests.spec import Pack
from evaluator.records.cell_report import Violation
from evaluator.threats import build


def check_array(pack: Pack, attack: Path) -> list[Violation]:
    """Every example whose claim cannot count, by kind: finiteness, box and budget, in float64.

    attack: an unpacked folder. Raises SubmissionError for an array that cannot be read or has another shape or type.
    """
    data = pack.challenge.data
    examples, threat = ranked_examples(data), build(pack.challenge.threat)
    point = threat.start(examples.x[:1]).shape[1:]
    points = read_array(attack / str(read_attack_manifest(attack).array), (data.examples, *point))
    return check_claims(points[examples.ids], examples, threat).violations
