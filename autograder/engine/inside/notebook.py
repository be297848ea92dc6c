"""Reading notebooks as text: nothing in here runs a learner's code.

Names, not metadata, find the exercises, so a notebook whose cells were deleted, duplicated, reordered or stripped of
their metadata by an editor is read like any other.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from autograder.engine.inside.errors import UserError

MAX_NOTEBOOK_BYTES = 20 * 2**20
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"  # newer ones read more, such as f-strings in f-strings
_PARSE_ERRORS = (SyntaxError, ValueError, MemoryError, RecursionError)


class NotebookError(UserError):
    """A file that can't be read as a notebook; the message is one sentence that says what to do."""


@dataclass(frozen=True)
class Cell:
    """One cell: its position (from 1, as an editor counts), its type, its text and its metadata."""

    number: int
    type: str
    source: str
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def nbgrader(self) -> dict[str, Any]:
        """Nbgrader's part of the metadata, or nothing."""
        value = self.metadata.get("nbgrader")
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class Statement:
    """One top-level statement of a code cell, which is here without its metadata: equal texts are read once."""

    cell: Cell
    node: ast.stmt

    @property
    def place(self) -> tuple[int, int]:
        """(cell number, line within the cell)."""
        return self.cell.number, self.node.lineno

    @cached_property
    def names(self) -> frozenset[str]:
        """The names that it sets."""
        return frozenset(bound_names(self.node))

    @cached_property
    def free(self) -> frozenset[str]:
        """The names that it needs."""
        return frozenset(free_names(self.node))

    @cached_property
    def fingerprint(self) -> str:
        """Its code as text that ignores layout, comments and docstrings."""
        return fingerprint(self.node)

    @cached_property
    def mentioned(self) -> tuple[str, ...]:
        """Dotted names that it reads or imports and does not bind itself, longest form first."""
        return tuple(_mentions(self.node))

    def is_stub(self, stub: str | None) -> bool:
        """Whether it is the stub that has this fingerprint. Most are told apart by one word."""
        word = "NotImplementedError"
        return stub is not None and (word in self.cell.source or word not in stub) and self.fingerprint == stub


@dataclass(frozen=True)
class BrokenCell:
    """A code cell that Python can't parse, with the names it would have defined."""

    cell: Cell
    line: int | None
    problem: str
    names: frozenset[str]

    def __str__(self) -> str:
        where = f"cell {self.cell.number}" + (f", line {self.line}" if self.line else "")
        lines = self.cell.source.splitlines()
        source = f": `{lines[self.line - 1].strip()[:200]}`" if self.line and self.line <= len(lines) else ""
        return f"{where} is not valid Python ({self.problem}, says Python {_PYTHON}){source}"


def unread(definition: ast.AST) -> list[tuple[str, str]]:
    """Function and argument, for each argument that a definition never reads."""
    body = definition.body if isinstance(definition, ast.ClassDef) else [definition]
    found: list[tuple[str, str]] = []
    for function in body:
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            read = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Store)}
            takes = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
            lost = [arg.arg for arg in takes if arg.arg not in ("self", "cls", *read) and arg.arg[0] != "_"]
            found += [(function.name, name) for name in lost if "locals" not in read]
    return found


def place_name(place: tuple[int, int]) -> str:
    """A statement's place in words."""
    return f"cell {place[0]}, line {place[1]}"


def read_notebook(path: Path) -> list[Cell]:
    """The cells of a notebook file. Raises NotebookError, with a sentence, for anything that is none."""
    try:
        if not path.is_file():
            raise NotebookError(f"{path} does not exist, or is not a file.")
        if path.stat().st_size > MAX_NOTEBOOK_BYTES:
            raise NotebookError(
                f"{path} is larger than {MAX_NOTEBOOK_BYTES // 2**20} MB. Clear its outputs (Kernel → Restart and "
                "clear outputs), save it and try again."
            )
        raw = path.read_bytes()
    except OSError as problem:
        raise NotebookError(f"{path} can't be read: {problem.strerror}.") from None
    return parse_notebook(raw, str(path))


def parse_notebook(raw: bytes, name: str) -> list[Cell]:
    """The cells of a notebook given as bytes; `name` is for messages."""
    try:
        tree = tree_of(raw)
        sheets = tree.get("worksheets", ())  # nbformat 3 keeps cells in them
        cells = tree.get("cells") or [c for sheet in sheets if isinstance(sheet, dict) for c in sheet.get("cells", ())]
        return list(_cells(cells))
    except (NotebookError, TypeError) as problem:
        said = problem if isinstance(problem, NotebookError) else "is not a notebook: it has no list of cells"
        raise NotebookError(
            f"{name} {said}. Open it in Jupyter to see whether it can be repaired, or begin again from the released "
            "copy."
        ) from None


def tree_of(raw: bytes) -> dict[str, Any]:
    """The JSON tree of a notebook file, which has a list of cells or of worksheets, in whatever encoding it is.

    Raises NotebookError, with what is wrong as the rest of a sentence.
    """
    if not raw.strip():
        raise NotebookError("is empty")
    try:
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise NotebookError(f"is not a notebook: it is not valid JSON ({problem})") from None
    if not isinstance(tree, dict) or not isinstance(tree.get("cells", tree.get("worksheets")), list):
        raise NotebookError("is not a notebook: it has no list of cells")
    return tree


def _cells(cells: list[Any]) -> Iterator[Cell]:
    for number, cell in enumerate(cells, 1):
        if not isinstance(cell, dict):
            continue
        source = cell.get("source", cell.get("input", ""))
        if isinstance(source, list):
            source = "".join(line for line in source if isinstance(line, str))
        metadata = cell.get("metadata")
        yield Cell(
            number=number,
            type=str(cell.get("cell_type")),
            source=source if isinstance(source, str) else "",
            metadata=metadata if isinstance(metadata, dict) else {},
        )


_MAGIC = re.compile(r"^(\s*)((?:[\w., ]+=\s*)?)(?:[%!?]|[\w.]+\?\??\s*$)")
_TRANSPARENT = ("%%time", "%%timeit", "%%capture", "%%prun")


def parse(cell: Cell) -> list[Statement] | BrokenCell:
    """The top-level statements of a code cell, or why there are none.

    Lines that only IPython understands are passed over, and cells in another language are empty. Line numbers stay.
    """
    return _parsed(cell.number, cell.source)


@lru_cache(maxsize=2**9)  # some notebooks: most of their cells are the same in all submissions
def _parsed(number: int, source: str) -> list[Statement] | BrokenCell:
    cell = Cell(number, "code", source)
    lines = source.split("\n")
    first = cell.source.lstrip().split("\n", 1)[0]
    if first.startswith("%%") and not first.startswith(_TRANSPARENT):
        return []
    while True:
        try:
            return [Statement(cell, node) for node in ast.parse("\n".join(lines)).body]
        except _PARSE_ERRORS as problem:
            line = getattr(problem, "lineno", None)
            magic = _MAGIC.match(lines[line - 1]) if line and line <= len(lines) else None
            if line is None or magic is None:
                names = re.findall(r"^(?:async\s+)?(?:def|class)\s+(\w+)", cell.source, re.M)
                text = getattr(problem, "msg", None) or type(problem).__name__
                return BrokenCell(cell, line, text, frozenset(names))
            indent, target = magic.groups()
            while lines[line - 1].endswith("\\") and line < len(lines):  # it goes on in the next line
                lines[line - 1], line = "", line + 1
            lines[line - 1] = f"{indent}{target}None" if target else f"{indent}pass"


class Code:
    """What the code cells of a notebook define, without running them."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        self.statements: list[Statement] = []
        self.broken: list[BrokenCell] = []
        for cell in cells:
            if cell.type != "code":
                continue
            parsed = parse(cell)
            if isinstance(parsed, BrokenCell):
                self.broken.append(parsed)
            else:
                self.statements += parsed

    def definitions(self, name: str) -> list[Statement]:
        """Every top-level definition of `name`, in order (also `name = …`)."""
        return [s for s in self.statements if name in s.names and not isinstance(s.node, ast.AugAssign)]

    def definition(self, name: str, stub: str | None = None) -> Statement | None:
        """The definition of `name` that counts: the last one that is not the stub, else the last one."""
        return counted(self.definitions(name), stub)

    def breakage(self, name: str) -> BrokenCell | None:
        """The broken cell that would have defined `name`, if any."""
        return next((b for b in self.broken if name in b.names), None)

    def used_by(self, name: str) -> set[str]:
        """The globals that `name` needs, directly or through what it uses of the notebook."""
        used: set[str] = set()
        queue = [name]
        while queue:
            for statement in self.definitions(queue.pop()):
                fresh = statement.free - used
                used |= fresh
                queue.extend(fresh)
        return used

    def aliases(self) -> dict[str, str]:
        """Imported name → what it stands for: `nn` → `torch.nn`. Imports inside functions count too."""
        return self._aliases

    @cached_property
    def _aliases(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for statement in self.statements:
            if "import" not in statement.cell.source:  # walking all of a notebook takes longer than parsing it
                continue
            for node in ast.walk(statement.node):
                if isinstance(node, ast.Import):
                    for item in node.names:
                        found[item.asname or item.name.split(".")[0]] = (
                            item.name if item.asname else item.name.split(".")[0]
                        )
                elif isinstance(node, ast.ImportFrom) and node.module:
                    for item in node.names:
                        found[item.asname or item.name] = f"{node.module}.{item.name}"
        return found


def counted(found: Sequence[Statement], stub: str | None) -> Statement | None:
    """Of several definitions the last one that is not the stub, else the last one."""
    solved = [s for s in found if not s.is_stub(stub)]
    return solved[-1] if solved else found[-1] if found else None


def _mentions(node: ast.AST) -> Iterator[str]:
    local = _bound(node)
    for child in ast.walk(node):
        if isinstance(child, ast.Attribute | ast.Name):
            dotted = _dotted(child)
            if dotted and dotted.split(".")[0] not in local:
                yield dotted
        elif isinstance(child, ast.Import):
            yield from (item.name for item in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield from (f"{child.module}.{item.name}" for item in child.names)


def _dotted(node: ast.AST) -> str | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])


def bound_names(node: ast.stmt) -> set[str]:
    """The names that a top-level statement sets, without looking into the functions and classes it defines."""
    names: set[str] = set()
    queue: list[ast.AST] = [node]
    while queue:
        current = queue.pop()
        if isinstance(current, _DEFINITIONS):
            names.add(current.name)
            continue
        if isinstance(current, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            continue
        if isinstance(current, ast.Name) and isinstance(current.ctx, ast.Store):
            names.add(current.id)
        elif isinstance(current, ast.Import | ast.ImportFrom):
            names |= {(item.asname or item.name).split(".")[0] for item in current.names}
        elif isinstance(current, ast.ExceptHandler) and current.name:
            names.add(current.name)
        queue.extend(ast.iter_child_nodes(current))
    return names


def free_names(node: ast.AST) -> set[str]:
    """Names that a definition reads and nowhere binds itself: roughly, the globals it needs."""
    imported = {
        (item.asname or item.name).split(".")[0]
        for child in ast.walk(node)
        if isinstance(child, ast.Import | ast.ImportFrom)
        for item in child.names
    }
    loaded = {c.id for c in ast.walk(node) if isinstance(c, ast.Name) and isinstance(c.ctx, ast.Load)}
    return loaded - _bound(node) - imported


def _bound(node: ast.AST) -> set[str]:
    """Names that a piece of code binds anywhere in itself, other than by importing."""
    bound: set[str] = set()
    for child in ast.walk(node):
        if isinstance(child, ast.Name) and not isinstance(child.ctx, ast.Load):
            bound.add(child.id)
        elif isinstance(child, ast.arg):
            bound.add(child.arg)
        elif isinstance(child, _DEFINITIONS) or (isinstance(child, ast.ExceptHandler) and child.name):
            bound.add(str(child.name))
    return bound


def fingerprint(node: ast.AST) -> str:
    """The code of a definition as text that ignores layout, comments and docstrings."""
    try:
        copy = ast.parse(ast.unparse(node))
    except (RecursionError, MemoryError, ValueError, SyntaxError):
        return f"code too deep to compare, at line {getattr(node, 'lineno', 0)}"  # no stub is
    for child in ast.walk(copy):
        body = getattr(child, "body", None)
        if isinstance(child, _DEFINITIONS) and body:
            first = body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                child.body = body[1:] or [ast.Pass()]
    return ast.dump(copy)


# Which statements run when a notebook is loaded for grading ---------------------------------------------------------

_SAFE_ROOTS = {"numpy", "math", "torch", "functools", "collections", "itertools", "typing", "dataclasses", "fractions"}
_SAFE_CALLS = {
    *("range", "len", "dict", "list", "tuple", "set", "frozenset", "float", "int", "str", "bool", "complex", "bytes"),
    *("enumerate", "zip", "reversed", "sorted", "sum", "min", "max", "abs", "round", "any", "all", "ord", "chr"),
}
_SAFE_METHODS = {  # of whatever: they take no time
    *(
        "split",
        "splitlines",
        "strip",
        "lower",
        "upper",
        "title",
        "replace",
        "join",
        "format",
        "encode",
        "count",
        "index",
    ),
    *("items", "keys", "values", "get", "union", "copy", "astype", "reshape", "transpose", "tolist", "item", "ravel"),
}


def runs_in_grading(statement: Statement, exercise_cells: set[int], aliases: dict[str, str]) -> bool:
    """Whether a statement runs when the notebook is graded.

    Everything in a cell that defines an exercise; elsewhere imports, definitions and constants. Training loops,
    plots and calls of the learner's own functions don't.
    """
    return statement.cell.number in exercise_cells or _is_definition(statement.node, aliases)


def _is_definition(node: ast.stmt, aliases: dict[str, str]) -> bool:
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.Pass, *_DEFINITIONS)):
        return True
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return node.value is None or _constant(node.value, aliases)
    if isinstance(node, ast.Try):
        inner = [*node.body, *node.orelse, *node.finalbody, *(s for h in node.handlers for s in h.body)]
        return all(_is_definition(child, aliases) for child in inner)
    if isinstance(node, ast.If):
        return _constant(node.test, aliases) and all(
            _is_definition(child, aliases) for child in [*node.body, *node.orelse]
        )
    return False


def _constant(node: ast.expr, aliases: dict[str, str]) -> bool:
    """No calls but of the numeric libraries; no awaiting. The body of a lambda does not run when it is defined."""
    queue: list[ast.AST] = [node]
    while queue:
        child = queue.pop()
        if isinstance(child, ast.Await | ast.Yield | ast.YieldFrom):
            return False
        if isinstance(child, ast.Lambda):
            queue.append(child.args)
            continue
        if isinstance(child, ast.Call):
            if isinstance(child.func, ast.Attribute) and child.func.attr in _SAFE_METHODS:
                queue.extend(ast.iter_child_nodes(child))
                continue
            dotted = _dotted(child.func)
            root = aliases.get((dotted or "").split(".")[0], "").split(".")[0]
            if root not in _SAFE_ROOTS and dotted not in _SAFE_CALLS:
                return False
        queue.extend(ast.iter_child_nodes(child))
    return True


def keep_last(code: Code) -> Code:
    """The code of a history in which cells were run more than once: only the last definition of a name counts."""
    last: dict[str, Statement] = {}
    for statement in code.statements:
        if isinstance(statement.node, _DEFINITIONS):
            last[statement.node.name] = statement
    code.statements = [s for s in code.statements if not isinstance(s.node, _DEFINITIONS) or last[s.node.name] is s]
    return code


def set_elsewhere(code: Code, name: str, exercises: Collection[str]) -> dict[str, int]:
    """Globals that `name` uses and that only statements set which are not run in grading: name → cell number."""
    aliases = code.aliases()
    exercise_cells = {s.cell.number for s in code.statements if s.names & set(exercises)}
    kept: set[str] = set()
    skipped: dict[str, int] = {}
    for statement in code.statements:
        if runs_in_grading(statement, exercise_cells, aliases):
            kept |= statement.names
        else:
            skipped |= dict.fromkeys(statement.names, statement.cell.number)
    return {n: skipped[n] for n in sorted(code.used_by(name)) if n in skipped and n not in kept}
