"""What an attack returns counts only where it is what was asked for; every example that is not is counted and named."""

from __future__ import annotations

import torch
from attack_hosts import examples
from torch import Tensor

from evaluator.judging.claims import Claims, check_claims
from evaluator.threats import L2, Linf, RotationTranslation, Spatial

PART = examples(6)
PART.x[2] = 0.97  # near the wall, so that a point outside the box can be within the budget
THREAT = Linf(0.1)


def found(claims: Claims) -> dict[str, list[int]]:
    assert all(violation.count == len(violation.ids) for violation in claims.violations)
    return {violation.kind: violation.ids for violation in claims.violations}


def changed(row: int, value: float, points: Tensor | None = None) -> Tensor:
    points = THREAT.project(PART.x, PART.x + 1) if points is None else points.clone()
    points[row, 0, 2, 3] = value
    return points


def test_points_of_the_threat_are_claims() -> None:
    points = THREAT.project(PART.x, PART.x - 1)
    claims = check_claims(points, PART, THREAT)
    assert claims.violations == []
    assert bool(claims.valid.all())
    assert torch.equal(claims.points, points)


def test_every_violating_example_is_named_under_each_kind_and_the_others_still_count() -> None:
    points = changed(0, torch.nan)
    points = changed(1, torch.inf, points)
    points = changed(2, 1 + 1e-6, points)
    points = changed(3, -7.0, points)
    points = changed(4, float((PART.x[4, 0, 2, 3] + 0.5) % 1), points)
    claims = check_claims(points, PART, THREAT)
    named = found(claims)
    assert named["non-finite"] == [100, 101]
    assert named["box"] == [102, 103]
    assert named["budget"] == [103, 104]
    assert claims.valid.tolist() == [False, False, False, False, False, True]
    assert torch.equal(claims.points[:5], PART.x[:5])


def test_the_budget_is_checked_in_float64() -> None:
    part = examples(1)
    part.x[:] = 0.5
    for excess, counts in ((5e-7, True), (2e-6, False)):
        points = part.x.clone()
        points[0, 0, 0, 0] = 0.6 + excess
        assert check_claims(points, part, THREAT).valid.tolist() == [counts]
    wide = L2(0.7)
    points = part.x + 0.1 + 1e-6
    assert found(check_claims(points, part, wide)) == {"budget": [100]}


def test_a_wrong_shape_or_dtype_is_everybody_s_violation() -> None:
    for points, kind, words in (
        (PART.x[:5], "shape", "(6, 1, 7, 7), not (5, 1, 7, 7)"),
        (PART.x.flatten(1), "shape", "(6, 49)"),
        (PART.x.double(), "dtype", "float32, not float64"),
        ((PART.x * 255).to(torch.uint8), "dtype", "uint8"),
    ):
        claims = check_claims(points, PART, THREAT)
        assert found(claims) == {kind: PART.ids.tolist()}
        assert words in claims.violations[0].detail
        assert not bool(claims.valid.any())
        assert torch.equal(claims.points, PART.x)


def test_points_of_other_threats_are_checked_as_what_they_are() -> None:
    for threat in (Spatial(0.5), RotationTranslation(10.0, 1.0)):
        start = threat.start(PART.x)
        assert check_claims(start, PART, threat).violations == []
        assert set(found(check_claims(start + 50, PART, threat))) == {"budget"}
        assert set(found(check_claims(PART.x, PART, threat))) == {"shape"}
