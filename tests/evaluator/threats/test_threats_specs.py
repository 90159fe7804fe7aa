"""Manifests of every kind of threat: parsed, refused with the field, built; and the table in docs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from evaluator.manifests.threat_specs import ThreatSpec, threat_kinds
from evaluator.threats import (
    L0,
    L1,
    L2,
    Color,
    Corruptions,
    Linf,
    Patch,
    Physical,
    RotationTranslation,
    Spatial,
    Sum,
    Threat,
    Trait,
    Union,
    Views,
    build,
    table,
)
from evaluator.threats.registry import threat_class

ROOT = Path(__file__).resolve().parents[3]
SPECS: TypeAdapter[ThreatSpec] = TypeAdapter(ThreatSpec)

TABLES: list[tuple[dict[str, object], Threat]] = [
    ({"kind": "linf", "epsilon": 0.3}, Linf(0.3)),
    ({"kind": "l2", "epsilon": 0.5}, L2(0.5)),
    ({"kind": "l1", "epsilon": 12}, L1(12.0)),
    ({"kind": "l0", "epsilon": 10}, L0(10)),
    (
        {"kind": "union", "members": [{"kind": "linf", "epsilon": 0.3}, {"kind": "l0", "epsilon": 3}]},
        Union((Linf(0.3), L0(3))),
    ),
    ({"kind": "spatial", "epsilon": 1.5, "border": "zeros"}, Spatial(1.5, border="zeros")),
    ({"kind": "rotation-translation", "degrees": 30, "pixels": 3}, RotationTranslation(30, 3)),
    ({"kind": "color", "epsilon": 0.06}, Color(0.06, 0.06)),
    ({"kind": "color", "epsilon": 0.06, "smoothness": 0.02, "nodes": 16}, Color(0.06, 0.02, nodes=16)),
    (
        {
            "kind": "sum",
            "parts": [{"kind": "color", "epsilon": 0.06}, {"kind": "spatial", "epsilon": 1}, {"kind": "linf", "epsilon": 0.02}],
        },
        Sum((Color(0.06, 0.06), Spatial(1.0), Linf(0.02))),
    ),
    ({"kind": "patch", "side": 5}, Patch(5)),
    ({"kind": "patch", "side": 5, "location": [0, 3], "epsilon": 0.5}, Patch(5, epsilon=0.5, location=(0, 3))),
    (
        {"kind": "physical", "base": {"kind": "patch", "side": 5}, "views": {"blur": 0}, "samples": 64, "threshold": 0.9},
        Physical(Patch(5), Views(blur=0.0), samples=64, threshold=0.9),
    ),
    ({"kind": "corruptions", "severity": 3}, Corruptions(3)),
    ({"kind": "corruptions", "severity": [1, 5]}, Corruptions((1, 5))),
    ({"kind": "corruptions", "severity": 1, "kinds": ["fog"], "realizations": 4}, Corruptions(1, ("fog",), realizations=4)),
]

WRONG: list[tuple[dict[str, object], str]] = [
    ({"kind": "linf", "epsilon": 1.5}, "epsilon"),
    ({"kind": "l2", "epsilon": 0}, "epsilon"),
    ({"kind": "l1", "epsilon": -1}, "epsilon"),
    ({"kind": "l0", "epsilon": 1.5}, "epsilon"),
    ({"kind": "l3", "epsilon": 1}, "l3"),
    ({"kind": "linf", "epsilon": 0.3, "epsilom": 1}, "epsilom"),
    ({"kind": "union", "members": [{"kind": "linf", "epsilon": 0.3}]}, "members"),
    ({"kind": "union", "members": [{"kind": "linf", "epsilon": 0.3}, {"kind": "patch", "side": 3}]}, "patch"),
    ({"kind": "spatial", "epsilon": 1, "border": "mirror"}, "border"),
    ({"kind": "rotation-translation", "degrees": 0, "pixels": 0}, "both be 0"),
    ({"kind": "color", "epsilon": 0.1, "nodes": 1}, "nodes"),
    ({"kind": "sum", "parts": [{"kind": "linf", "epsilon": 0.3}]}, "parts"),
    ({"kind": "patch", "side": 0}, "side"),
    ({"kind": "patch", "side": 3, "location": [-1, 0]}, "location"),
    ({"kind": "physical", "base": {"kind": "l0", "epsilon": 3}}, "l0"),
    ({"kind": "physical", "base": {"kind": "linf", "epsilon": 0.1}, "threshold": 0}, "threshold"),
    ({"kind": "physical", "base": {"kind": "linf", "epsilon": 0.1}, "views": {"perspective": 1}}, "perspective"),
    ({"kind": "corruptions", "severity": 6}, "severity"),
    ({"kind": "corruptions", "severity": 2.5}, "severity"),
    ({"kind": "corruptions", "severity": [5, 1]}, "severity"),
    ({"kind": "corruptions", "severity": [1, 3, 5]}, "severity"),
    ({"kind": "corruptions", "severity": 1, "kinds": ["rain"]}, "kinds"),
]


@pytest.mark.parametrize(("table", "threat"), TABLES, ids=lambda value: value["kind"] if isinstance(value, dict) else "")
def test_a_manifest_builds_the_threat_it_describes(table: dict[str, object], threat: Threat) -> None:
    assert build(SPECS.validate_python(table)) == threat


@pytest.mark.parametrize(("table", "named"), WRONG, ids=[f"{number}-{named}" for number, (_, named) in enumerate(WRONG)])
def test_a_wrong_manifest_is_refused_and_the_field_named(table: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        SPECS.validate_python(table)


def test_every_kind_of_manifest_is_tested_here_and_its_threat_says_the_same_of_itself() -> None:
    kinds = set(threat_kinds())
    assert {table["kind"] for table, _ in TABLES} == kinds
    assert {table["kind"] for table, _ in WRONG} >= kinds
    for given, threat in TABLES:
        spec = SPECS.validate_python(given)
        assert type(threat) is threat_class(type(spec))
        assert threat.kind == spec.kind
        assert bool(threat.balls()) == spec.inputs, "what can be told from a query is no secret of either side"
        assert (Trait.RESIZABLE in threat.traits) == bool(spec.norm)


def test_the_parameters_of_views_and_their_defaults_are_the_same_in_manifests() -> None:
    spec = SPECS.validate_python({"kind": "physical", "base": {"kind": "linf", "epsilon": 0.1}})
    assert build(spec) == Physical(Linf(0.1))


def test_specs_import_without_torch() -> None:
    code = "import sys, evaluator.manifests.spec, evaluator.manifests.threat_specs; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_table_in_docs_is_the_registrys() -> None:
    page = (ROOT / "docs" / "threats.md").read_text(encoding="utf-8")
    assert table() in page, "docs/threats.md is stale: paste `python -c 'from evaluator.threats import table; print(table())'`"
