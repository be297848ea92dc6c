"""Mutants of a definition: what the operators of cosmic-ray make of it, one small change each."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import MutationVisitor
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider
from parso.python.tree import Number

from autograder.engine.inside.notebook import fingerprint

# An operator swaps within a family only. Between families a change says nothing about a grader: floats have no bitwise
# operators, and whether equal numbers are one object is chance.
_FAMILIES = (
    {"Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow"},
    {"RShift", "LShift", "BitOr", "BitAnd", "BitXor"},
    {"Eq", "NotEq", "Lt", "LtE", "Gt", "GtE"},
    {"Is", "IsNot"},
)
_SWAP = re.compile(r"Replace(?:Binary|Comparison)Operator_(\w+)_(\w+)")


@dataclass(frozen=True)
class Mutant:
    """A definition with one change.

    Attributes:
        source: all of it.
        line: the first changed line, from 1.
        old: the changed lines as they were.
        new: the changed lines as they are; behind a `#` if they were removed.
    """

    source: str
    line: int
    old: str
    new: str


def mutants(definition: str) -> list[Mutant]:
    """Every mutant of the source of a function or class that differs in code, each once, in the order of lines.

    Docstrings, annotations and the texts of raised errors are not code here.
    """
    nodes = list(ast_nodes(get_ast(definition)))
    found: dict[str, Mutant] = {}
    known = {_essence(definition)}
    for operator in _operators():
        for occurrence in range(sum(len(list(operator.mutation_positions(node))) for node in nodes)):
            source = _Visitor.mutate_code(definition, operator, occurrence)
            essence = _essence(source)
            if essence and essence not in known:
                known.add(essence)
                found[source] = Mutant(source, *_changed(definition, source))
    return sorted(found.values(), key=lambda mutant: (mutant.line, mutant.new))


def _operators() -> Iterator[Operator]:
    """Those that need no arguments (the others put random numbers or names in) and stay within a family."""
    provider = OperatorProvider()
    for name in provider:
        swap = _SWAP.fullmatch(name)
        if not provider[name].arguments() and (not swap or any(set(swap.groups()) <= f for f in _FAMILIES)):
            yield provider[name]()


class _Visitor(MutationVisitor):  # type: ignore[misc] # cosmic-ray is not looked into
    """Puts a changed number in the place of the old one, without the space that the operator sets before it."""

    def visit(self, node: object) -> object:
        changed = super().visit(node)
        if changed is not node and isinstance(changed, Number) and isinstance(node, Number):
            changed.value, changed.prefix = changed.value.strip(), node.prefix
        return changed


def _essence(source: str) -> str | None:
    """The code of a definition as text without what no grader can see; None if it is not valid Python."""
    try:
        with warnings.catch_warnings(action="ignore"):
            [node] = _Bare().visit(ast.parse(source)).body
            return fingerprint(node)
    except (SyntaxError, ValueError):
        return None


class _Bare(ast.NodeTransformer):
    """Removes annotations, the texts of errors, and the marks `/` and `*` among parameters."""

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        node.args, node.posonlyargs, node.kwonlyargs = [*node.posonlyargs, *node.args, *node.kwonlyargs], [], []
        node.defaults, node.kw_defaults = [*node.defaults, *filter(None, node.kw_defaults)], []
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        node.msg = None
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return self.generic_visit(node)


def _changed(before: str, after: str) -> tuple[int, str, str]:
    """The first line that differs, and the lines that differ in both, without indentation."""
    old, new = before.splitlines(), after.splitlines()
    start = next(i for i, (a, b) in enumerate(zip([*old, ""], [*new, ""], strict=False)) if a != b)
    while old and new and old[-1] == new[-1] and len(old) > start and len(new) > start:
        old.pop()
        new.pop()
    was, now = ([line.strip() for line in lines[start:]] for lines in (old, new))
    return start + 1, "\n".join(was), "\n".join(now or [f"# {line}" for line in was])
