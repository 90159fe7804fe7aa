"""Small changes of a module, one at a time: what a slip of the hand would look like."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
_NAMES = {"min": "max", "minimum": "maximum", "clamp_min": "clamp_max", "any": "all", "floor": "ceil", "lower": "upper"}
_NAMES |= {other: name for name, other in _NAMES.items()}


@dataclass(frozen=True)
class Mutant:
    """One changed module. where: "function: the line before -> after", which names it in a report."""

    where: str
    tree: ast.Module


def mutants(source: str, functions: tuple[str, ...] = ()) -> Iterator[Mutant]:
    """Every single change of `source`, in the functions of these names (all where none is named)."""
    total = sum(1 for _ in _changes(ast.parse(source), functions))
    for chosen in range(total):
        tree = ast.parse(source)
        for number, (function, node, change) in enumerate(_changes(tree, functions)):
            if number == chosen:
                before = ast.unparse(node)
                change()
                yield Mutant(f"{function}: {_line(before)} -> {_line(ast.unparse(node))}", ast.fix_missing_locations(tree))
                break


def _line(text: str) -> str:
    return " ".join(text.split())[:160]


class _Change:
    """What turns one node into its mutant, in place."""

    def __init__(self, node: ast.AST, field: str, value: object, position: int | None = None) -> None:
        self.node, self.field, self.value, self.position = node, field, value, position

    def __call__(self) -> None:
        if self.position is None:
            setattr(self.node, self.field, self.value)
        else:
            getattr(self.node, self.field)[self.position] = self.value


def _changes(tree: ast.Module, functions: tuple[str, ...]) -> Iterator[tuple[str, ast.AST, _Change]]:
    """(function, the node to show, the change)."""
    for owner in ast.walk(tree):
        if isinstance(owner, ast.FunctionDef) and (not functions or owner.name in functions):
            for statement in owner.body:
                for node, shown in _nodes(statement, statement):
                    for change in _of(node):
                        yield owner.name, shown, change


def _nodes(node: ast.AST, parent: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """(node that runs, what shows it: a bare number or name says little); an inner function is an owner of its own."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    yield node, parent if isinstance(node, (ast.Constant, ast.Name)) else node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "exc", "msg"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _nodes(child, node)


def _of(node: ast.AST) -> Iterator[_Change]:
    if isinstance(node, ast.Compare):
        for position, operator in enumerate(node.ops):
            if type(operator) in _COMPARISONS:
                yield _Change(node, "ops", _COMPARISONS[type(operator)](), position)
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in _OPERATORS:
        yield _Change(node, "op", _OPERATORS[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield _Change(node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
        for position in range(len(node.values)) if len(node.values) > 2 else ():
            yield _Change(node, "values", [value for at, value in enumerate(node.values) if at != position])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub, ast.Invert)):
        yield _Change(node, "op", ast.UAdd()) if isinstance(node.op, ast.USub) else _Change(node, "operand", _negated(node))
    elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        yield _Change(node, "value", not node.value if isinstance(node.value, bool) else node.value + 1)
    elif isinstance(node, ast.Attribute) and node.attr in _NAMES:
        yield _Change(node, "attr", _NAMES[node.attr])
    elif isinstance(node, ast.Name) and node.id in _NAMES:
        yield _Change(node, "id", _NAMES[node.id])
    elif isinstance(node, (ast.If, ast.IfExp, ast.While)) and not isinstance(node.test, (ast.Compare, ast.BoolOp, ast.UnaryOp)):
        yield _Change(node, "test", ast.UnaryOp(ast.Not(), node.test))
    for field in ("body", "orelse"):
        statements = getattr(node, field, None)
        for position, statement in enumerate(statements if isinstance(statements, list) else ()):
            if _removable(statement):
                yield _Change(node, field, ast.Pass(), position)


def _negated(node: ast.UnaryOp) -> ast.expr:
    """What makes the operator void: `not x` becomes `not not x`."""
    return ast.UnaryOp(copy.copy(node.op), node.operand)


def _removable(statement: ast.AST) -> bool:
    """Whether a program without the statement can still run: a call for its effect, an update, a refusal."""
    call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    return call or isinstance(statement, (ast.Raise, ast.AugAssign, ast.Continue, ast.Break))
