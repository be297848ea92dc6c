"""Running the definitions of a notebook, statement by statement, so that one bad cell spoils only what it defines."""

from __future__ import annotations
import __future__

import ast
import contextlib
import linecache
import sys
import types
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from autograder.engine.inside.notebook import Cell, Code, Statement, place_name, runs_in_grading

_IPYTHON = ("display", "get_ipython")  # what a kernel has beside Python's own names; here they do nothing


@dataclass
class Loaded:
    """The names of a loaded notebook.

    Attributes:
        namespace: what the executed statements defined.
        skipped: name → cell, for names that only a statement that is not run in grading sets.
        spoiled: name → sentence, for names whose statement raised or whose cell does not parse.
        module: the module that the namespace belongs to, unless that is the running `__main__` anyway.
    """

    namespace: dict[str, Any]
    skipped: dict[str, int] = field(default_factory=dict)
    spoiled: dict[str, str] = field(default_factory=dict)
    module: types.ModuleType | None = None


@contextlib.contextmanager
def as_main(module: types.ModuleType | None) -> Iterator[None]:
    """Within the block `module` is `__main__`: dataclasses, typing and pickle look a class's module up by name."""
    previous = sys.modules["__main__"]
    sys.modules["__main__"] = module or previous
    try:
        yield
    finally:
        sys.modules["__main__"] = previous


def cell_file(number: int) -> str:
    """The file name under which a cell is compiled; tracebacks show it."""
    return f"<cell {number}>"


def load(
    cells: Iterable[Cell],
    exercises: Collection[str],
    *,
    skip: Collection[tuple[int, int]] = (),
    before: Callable[[Statement], None] = lambda statement: None,
) -> Loaded:
    """Run what grading runs of a notebook.

    Args:
        cells: the notebook's cells.
        exercises: names of the exercises; every statement of a cell that defines one runs.
        skip: places (cell, line) of statements to leave out, such as stubs that come after a solved copy.
        before: called before each statement that runs.
    """
    code = Code(cells)
    wanted = set(exercises)
    module = types.ModuleType("__main__")
    module.__dict__.update(dict.fromkeys(_IPYTHON, _nothing))
    loaded = Loaded(module.__dict__, module=module)
    flags = 0  # of the future imports so far, which hold for all cells below as in a kernel
    aliases = code.aliases()
    exercise_cells = {s.cell.number for s in code.statements if s.names & wanted}
    with as_main(module):
        for statement in code.statements:
            if statement.place in skip:
                left_out = f"{place_name(statement.place)} took too long, took too much memory, or ended the process"
                loaded.spoiled.update(dict.fromkeys(statement.names, left_out))
                continue
            if not runs_in_grading(statement, exercise_cells, aliases):
                loaded.skipped.update(dict.fromkeys(statement.names, statement.cell.number))
                continue
            before(statement)
            flags |= _future_flags(statement.node)
            problem = _run(statement, loaded.namespace, flags)
            for name in statement.names:
                loaded.spoiled.pop(name, None)
                if problem:
                    loaded.spoiled[name] = problem
    for broken in code.broken:
        loaded.spoiled.update(dict.fromkeys(broken.names - set(loaded.namespace), str(broken)))
    loaded.skipped = {n: c for n, c in loaded.skipped.items() if n not in loaded.namespace}
    loaded.spoiled = {n: p for n, p in loaded.spoiled.items() if n not in loaded.namespace}
    return loaded


def _nothing(*_: object, **__: object) -> None:
    """Show nothing: where this runs there is nobody to see it."""


def _future_flags(node: ast.stmt) -> int:
    if not isinstance(node, ast.ImportFrom) or node.module != "__future__":
        return 0
    names = {item.name for item in node.names} & set(__future__.all_feature_names)
    return sum(getattr(__future__, name).compiler_flag for name in names)


def _run(statement: Statement, namespace: dict[str, Any], flags: int) -> str | None:
    """Run one statement; a sentence if it raised."""
    file = cell_file(statement.cell.number)
    source = statement.cell.source
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    try:
        code = compile(ast.Module([statement.node], []), file, "exec", flags, dont_inherit=True)
        exec(code, namespace)
    except KeyboardInterrupt:
        raise
    except BaseException as problem:
        kind, text = type(problem).__name__[:100], ""
        with contextlib.suppress(Exception):
            text = str(problem)[:500]
        return f"{place_name(statement.place)} raised {kind}: {text}"
    return None
