"""Correct implementations unlike the reference, written by hand, as their file holds them."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from autograder.engine.inside.errors import UserError

Definition = ast.FunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Alternatives:
    """The file of one assignment.

    Attributes:
        sets: name of a set → exercise → text to put in place of its cell.
        equivalent: exercise → changed lines of a mutant → why it is as right as the reference.
    """

    sets: dict[str, dict[str, str]] = field(default_factory=dict)
    equivalent: dict[str, dict[str, str]] = field(default_factory=dict)


def read_alternatives(path: Path, exercises: Collection[str]) -> Alternatives:
    """Read a file of alternatives; there need be none.

    Functions and classes that are named like exercises make the set `first`. Any other class holds a further set, and
    `EQUIVALENT` is a dict of literals.
    """
    if not path.is_file():
        return Alternatives()
    try:
        module = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as problem:
        raise UserError(f"{path}, line {problem.lineno}: {problem.msg}.") from None
    imports = [ast.unparse(node) for node in module.body if isinstance(node, ast.Import | ast.ImportFrom)]
    defined = [node for node in module.body if isinstance(node, Definition)]
    further = [node for node in defined if node.name not in exercises]
    bodies = {"first": [node for node in defined if node.name in exercises]}
    for node in further:
        held = [child for child in node.body if isinstance(child, Definition)]
        strangers = [child.name for child in held if child.name not in exercises]
        if not isinstance(node, ast.ClassDef) or not held or strangers:
            which = strangers[0] if isinstance(node, ast.ClassDef) and strangers else node.name
            raise UserError(f"{path}, line {node.lineno}: `{which}` is no exercise, and holds none.")
        bodies[node.name] = held
    sets = {name: _sources(imports, nodes) for name, nodes in bodies.items() if nodes}
    return Alternatives(sets, _equivalent(path, module, exercises))


def _sources(imports: list[str], nodes: Iterable[Definition]) -> dict[str, str]:
    return {node.name: "\n".join([*imports, ast.unparse(node)]) for node in nodes}


def _equivalent(path: Path, module: ast.Module, exercises: Collection[str]) -> dict[str, dict[str, str]]:
    for node in module.body:
        if isinstance(node, ast.Assign) and [getattr(t, "id", None) for t in node.targets] == ["EQUIVALENT"]:
            try:
                found: dict[str, dict[str, str]] = ast.literal_eval(node.value)
                listed = [(name, line, reason) for name, lines in found.items() for line, reason in lines.items()]
            except (ValueError, AttributeError):
                raise UserError(
                    f"{path}, line {node.lineno}: EQUIVALENT is a dict from exercise to a dict from line to reason."
                ) from None
            for name, line, reason in listed:
                if name not in exercises:
                    raise UserError(f"{path}: EQUIVALENT names `{name}`, which is no exercise.")
                if not isinstance(reason, str) or not reason.strip():
                    raise UserError(f"{path}: EQUIVALENT gives no reason for {line!r} of `{name}`.")
            return found
    return {}
