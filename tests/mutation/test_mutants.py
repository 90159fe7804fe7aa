"""The changes that `make mutation` makes are single ones, and its table names what exists."""

from __future__ import annotations

import ast

import pytest

from tests.mutation.__main__ import ROOT, read_targets, replace
from tests.mutation.mutants import mutants

SOURCE = '''
def f(a, b):
    """A docstring is left alone."""
    if a < b and not b:
        raise ValueError("x")
    for i in range(3):
        a += 1
    return max(a, -2)
'''


def test_each_mutant_is_one_change_and_all_differ() -> None:
    found = [mutant.where for mutant in mutants(SOURCE)]
    assert found == [
        "f: if a < b and (not b): raise ValueError('x') -> if a < b and (not b): pass",
        "f: a < b and (not b) -> a < b or not b",
        "f: a < b -> a <= b",
        "f: not b -> not not b",
        "f: for i in range(3): a += 1 -> for i in range(3): pass",
        "f: range(3) -> range(4)",
        "f: a += 1 -> a -= 1",
        "f: a += 1 -> a += 2",
        "f: max(a, -2) -> min(a, -2)",
        "f: -2 -> +2",
        "f: -2 -> -3",
    ]
    assert list(mutants(SOURCE, ("another",))) == []


def test_a_living_function_gets_the_changed_code() -> None:
    file = ROOT / "tests" / "mutation" / "sample.py"
    from tests.mutation import sample

    (changed,) = mutants(file.read_text())
    try:
        replace("tests.mutation.sample", compile(changed.tree, str(file), "exec", dont_inherit=True))
        assert sample.is_less(1, 1), changed.where
    finally:
        replace("tests.mutation.sample", compile(ast.parse(file.read_text()), str(file), "exec", dont_inherit=True))
    assert not sample.is_less(1, 1)


@pytest.mark.parametrize("target", read_targets(), ids=lambda target: target.file)
def test_the_table_names_files_and_functions_that_exist(target: object) -> None:
    source = (ROOT / target.file).read_text()  # type: ignore[attr-defined]
    for function in target.functions:  # type: ignore[attr-defined]
        assert f"def {function}(" in source
    for file in target.tests:  # type: ignore[attr-defined]
        assert (ROOT / file.split("::")[0]).is_file(), file
    assert all(target.explained.values())  # type: ignore[attr-defined]
