"""`s30 lint`: the rules for masters that a machine can check. Each problem is a place and a sentence."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nbformat import from_dict
from nbgrader.nbgraderformat import MetadataValidator

from autograder.engine.assignment import TRACKS, checked_name
from autograder.engine.inside.notebook import BrokenCell, Cell, Code, parse, parse_notebook
from autograder.engine.inside.shortcuts import matches
from course.base.catalog import catalog
from course.make.fix import BEGIN, CARD, END, TRACK, WRITTEN, fixed, has_solution

MAX_CELL_LINES = 45
MAX_SOLUTION_LINES = 25
EXERCISES = (5, 12)
NOTEBOOK_WORDS = (1800, 4500)
TEXT_WORDS = (60, 200)
FIGURES = 4
KEY_BYTES = 400_000
HINTS = 3
_A_CARD = f"**3 points · 20 minutes · difficulty 2 of 5 · NumPy forward** (or {' or '.join(list(TRACK)[1:])})"


def lint(master: Path) -> list[str]:
    """The problems of a master notebook, each as `cell: sentence`; empty if there are none.

    Raises:
        NotebookError: there is no such master, or it is no notebook.
    """
    implied = fixed(master).encode()
    notebook = json.loads(implied)
    cells, ids = parse_notebook(implied, str(master)), [cell["id"] for cell in notebook["cells"]]
    found = []
    if implied != master.read_bytes():
        told = f"`s30 lint --fix {master.stem[:2]}` puts them right"
        found.append(f"notebook: ids, metadata, outputs or form are not what its text implies; {told}.")
    found += [*_cells(notebook["cells"], ids), *_exercises(cells, ids), *_figures(cells, ids)]
    return [*found, *_whole(cells), *_catalogued(cells, master.stem)]


def lint_key(key: Path) -> list[str]:
    """What is wrong with the size of a key, which every learner's copy holds and every build writes anew."""
    size = key.stat().st_size if key.is_file() else 0
    if size <= KEY_BYTES:
        return []
    told = f"{size // 1000} kB, {KEY_BYTES // 1000} at most: in large cases, yield few of the results."
    return [f"key: {told}"]


def _cells(cells: list[dict[str, Any]], ids: list[str]) -> Iterator[str]:
    """Rules for every cell by itself."""
    for cell, name in zip(cells, ids, strict=True):
        source = "".join(cell["source"])
        if ids.count(name) > 1:
            yield f"{name}: another cell has the same id."
        if cell["cell_type"] == "code" and source.count("\n") >= MAX_CELL_LINES:
            yield f"{name}: {source.count(chr(10)) + 1} lines; {MAX_CELL_LINES} at most: build it in steps."
    try:
        MetadataValidator().validate_nb(from_dict({"cells": cells}))
    except Exception as problem:  # whatever nbgrader would stumble over
        if "does not have points" not in str(problem):  # no card, which has a sentence of its own
            yield f"nbgrader's metadata: {str(problem).splitlines()[0]}"


def _exercises(cells: list[Cell], ids: list[str]) -> Iterator[str]:
    """Rules for an exercise: text with a card, stub, three hints, check."""
    by_id = dict(zip(ids, cells, strict=True))
    stubs = [(i, cell) for i, cell in zip(ids, cells, strict=True) if has_solution(cell)]
    previous = 0
    for name, cell in stubs:
        at = ids.index(name)
        wanted = [f"{name}-text", name, *(f"{name}-hint{k}" for k in range(1, HINTS + 1)), f"{name}-check"]
        if ids[max(at - 1, 0) : at + HINTS + 2] != wanted:
            yield f"{name}: the cells round a stub must be {', '.join(wanted)}, the last of them the call of check."
            continue
        card = CARD.search(by_id[f"{name}-text"].source)
        if not card:
            found = re.search(r"\*\*\d+ points?.*", by_id[f"{name}-text"].source)
            yield f"{name}-text: {f'{found[0]} is no card' if found else 'the card is missing'}; one reads {_A_CARD}."
            continue
        yield from _text(name, by_id[f"{name}-text"].source)
        yield from _stub(name, cell)
        for k in range(1, HINTS + 1):
            hint = by_id[f"{name}-hint{k}"].source
            if not hint.startswith(f"<details><summary>Hint {k}: ") or not hint.endswith("</details>"):
                yield f"{name}-hint{k}: a hint is folded: <details><summary>Hint {k}: …</summary> … </details>."
        if not cell.metadata["s30"]["reread"]:
            yield f"{name}: `reread` is empty; name the equations or the section to go back to."
        if matches("numpy.random.PCG64", cell.metadata["s30"]["forbids"]):
            yield f"{name}: its `forbids` rules out numpy.random, from which grading draws its inputs."
        track = list(TRACK).index(card[4])
        if track < previous:
            yield f"{name}: {card[4]} comes after a later track: move it up, or let its card say where it belongs."
        previous = track
    yield from _needs({name: cell.metadata["s30"]["needs"] for name, cell in stubs}, Code(cells))
    for cell in cells:
        asked = checked_name(cell)
        if asked and asked not in dict(stubs):
            yield f"{asked}-check: above it is no stub of {asked}, with its solution between {BEGIN} and {END}."
    if not EXERCISES[0] <= len(stubs) <= EXERCISES[1]:
        yield f"notebook: {len(stubs)} exercises; {EXERCISES[0]} to {EXERCISES[1]} are allowed."


def _needs(needs: Mapping[str, Sequence[str]], code: Code) -> Iterator[str]:
    """Whatever a solution calls must be right before the exercise can be judged."""
    for name in needs:
        unknown = [need for need in needs[name] if need not in needs]
        yield from (f"{name}: it needs `{need}`, which is no exercise of this notebook." for need in unknown)

        def mentioned(n: str, name: str = name) -> Iterable[str]:
            found = code.definition(n) if n == name or n not in needs else None  # an exercise answers for itself
            return found.free if found else ()

        for missing in sorted(_closure(name, mentioned) & set(needs) - _closure(name, lambda n: needs.get(n, ()))):
            yield f"{name}: its solution calls `{missing}`; name it in `needs`."


def _closure(start: str, following: Callable[[str], Iterable[str]]) -> set[str]:
    found, queue = {start}, [start]
    while queue:
        new = set(following(queue.pop())) - found
        found |= new
        queue += new
    return found


def _text(name: str, text: str) -> Iterator[str]:
    if not re.match(rf"#+ .*`{name}`", text):
        yield f"{name}-text: it begins with a heading that names `{name}`."
    count = words(text)
    if not TEXT_WORDS[0] <= count <= TEXT_WORDS[1]:
        yield f"{name}-text: {count} words; {TEXT_WORDS[0]} to {TEXT_WORDS[1]} are allowed."
    if "By hand" not in text and "by hand" not in text:
        yield f"{name}-text: a tiny case worked by hand is missing."


def _stub(name: str, cell: Cell) -> Iterator[str]:
    lines = cell.source.split("\n")
    begins = [i for i, line in enumerate(lines) if line.strip() == BEGIN]
    ends = [i for i, line in enumerate(lines) if line.strip() == END]
    if not begins or len(begins) != len(ends):
        yield f"{name}: a solution stands between {BEGIN} and {END}."
        return
    length = sum(end - begin - 1 for begin, end in zip(begins, ends, strict=True))
    if length > MAX_SOLUTION_LINES:
        yield f"{name}: the solution has {length} lines; {MAX_SOLUTION_LINES} at most: make it steps."
    parsed = parse(cell)
    if isinstance(parsed, BrokenCell):
        yield f"{name}: {parsed}"
        return
    defined = [s.node for s in parsed if isinstance(s.node, ast.FunctionDef | ast.ClassDef) and s.node.name == name]
    if len(defined) != 1:
        yield f"{name}: the cell must define {name}, once."
        return
    node = defined[0]
    doc = ast.get_docstring(node) or ""
    if isinstance(node, ast.FunctionDef):
        if not re.search(r"^Returns:|^Yields:", doc, re.M) and "-> None" not in cell.source:
            yield f"{name}: the docstring lacks Returns."
        arguments = [a.arg for a in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]]
        for argument in arguments:
            if not re.search(rf"^\s*{argument}: ", doc, re.M):
                yield f"{name}: the docstring does not explain `{argument}`."
        untyped = [a.arg for a in [*node.args.args, *node.args.kwonlyargs] if a.annotation is None]
        if untyped or node.returns is None:
            yield f"{name}: type hints are missing ({', '.join([*untyped, *(['return'] * (node.returns is None))])})."
    inner = [n for n in ast.walk(node) if isinstance(n, ast.FunctionDef)]
    docs = "\n".join([doc, *(ast.get_docstring(n) or "" for n in inner)])
    if not re.search(r"\([A-Z][^)]*\)|shape|scalar|float|int|number", docs):
        yield f"{name}: the docstring says no shapes."


def _figures(cells: list[Cell], ids: list[str]) -> Iterator[str]:
    """Figures are numbered, captioned and described."""
    numbers: list[int] = []
    for name, cell in zip(ids, cells, strict=True):
        if cell.type != "code":
            continue
        if "plt.show(" in cell.source:
            yield f"{name}: show figures with plots.show, which adds the caption and the alt text."
        parsed = parse(cell)
        for statement in parsed if not isinstance(parsed, BrokenCell) else []:
            for node in ast.walk(statement.node):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "plots.show":
                    captions = re.findall(r"Figure (\d+)\.", ast.unparse(node))
                    numbers += [int(captions[0])] if captions else []
                    if not captions:
                        yield f'{name}: the caption begins with "Figure N.".'
                    if not any(k.arg == "alt" for k in node.keywords):
                        yield f"{name}: the figure lacks alt text."
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"notebook: figures are numbered {numbers}; they must be 1, 2, 3, …"
    if len(numbers) < FIGURES:
        yield f"notebook: {len(numbers)} figures; {FIGURES} at least."


def _whole(cells: list[Cell]) -> Iterator[str]:
    """Rules for the notebook as a whole."""
    prose = [cell.source for cell in cells if cell.type == "markdown"]
    count = sum(map(words, prose))
    if not NOTEBOOK_WORDS[0] <= count <= NOTEBOOK_WORDS[1]:
        yield f"notebook: {count} words; {NOTEBOOK_WORDS[0]} to {NOTEBOOK_WORDS[1]} are allowed."
    text = "\n".join(prose)
    for needed in ("**Time**", "**Before you start**", "## What you learned"):
        if needed not in text:
            yield f"notebook: {needed} is missing."
    written = [c for c in cells if c.type == "markdown" and c.nbgrader.get("grade")]
    if not written:
        yield "notebook: a written question, graded by hand, is missing."
    if len(written) != len(WRITTEN.findall(text)):
        yield "notebook: every written question has a card: **2 points · graded by hand**."
    first_torch = next((c for c in cells if c.metadata.get("s30", {}).get("track") == "torch"), None)
    for cell in cells:
        imports_torch = re.search(r"^\s*(import|from) torch\b", cell.source, re.M) if cell.type == "code" else None
        last_numpy = max((c.number for c in cells if c.metadata.get("s30", {}).get("track") in TRACKS[:2]), default=0)
        if imports_torch and first_torch and cell.number < last_numpy:
            yield "notebook: torch is imported before the NumPy exercises are over; they work without it."
            break


def _catalogued(cells: list[Cell], slug: str) -> Iterator[str]:
    """The title cell says what the catalog says."""
    paper = catalog().get(slug)
    if paper is None:
        yield f"notebook: course/base/catalog.toml has no entry {slug}."
        return
    title = cells[0].source
    if title.split("\n", 1)[0] != f"# {paper.number} · {paper.title}":
        yield f"notebook: its heading must be the catalog's: # {paper.number} · {paper.title}."
    if f"**Time** {paper.time}." not in title:
        yield f"notebook: its time must be the catalog's: **Time** {paper.time}."
    on_cards = sum(cell.metadata["s30"].get("minutes", 0) for cell in cells if has_solution(cell))
    if on_cards > paper.minutes:
        yield f"notebook: its cards add up to {on_cards} minutes, the catalog says {paper.minutes}."
    if paper.link not in title:
        yield f"notebook: its first cell must link to {paper.link}, as the catalog does."
    before = re.search(r"\*\*Before you start\*\*(.*?)(\n\n|$)", title, re.S)
    missing = [number for number in paper.needs if not before or number not in before[1]]
    if missing:
        yield f"notebook: Before you start must name {', '.join(missing)}, which the catalog says it needs."


def words(markdown: str) -> int:
    """Words of prose in a markdown cell: no equations, no code, no tags, no addresses."""
    text = re.sub(r"\$\$.*?\$\$|\$[^$]*\$|```.*?```|<[^>]*>|\]\([^)]*\)", " ", markdown, flags=re.S)
    return len(re.findall(r"[^\W_][\w'’-]*", text))
