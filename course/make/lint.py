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
from course.base.project import RUBRIC, Project
from course.make.fix import BEGIN, CARD, END, TRACK, WRITTEN, fixed, has_solution

MAX_CELL_LINES = 45
MAX_SOLUTION_LINES = 25
NOTEBOOK_WORDS = (3000, 4500)
FIGURES = 4
KEY_BYTES = 400_000
WEIGHTS_BYTES = 1_000_000
HINTS = 3
MAX_CAPTION_NUMBERS = 3
# The budgets and the rhythm that keep a notebook a lesson: rule → least, most.
EXERCISES = (8, 9)
TEXT_WORDS = (120, 260)
HINT_WORDS = (10, 70)  # of the second
MINUTES = (0, 240)  # on all cards together
VISIBLE = (0, 350)  # lines of code that a learner sees unfolded, blank ones not counted
SHARE = (25, 100)  # per cent of them that are the learner's own
GAP = (0, 45)  # minutes on cards from one picture to the next
LONG = ("13", "18", "29")  # papers that are allowed more minutes

# Masters from before there were these rules, and those that they break: the list may only shrink.
_BEFORE = "text share gap opening guess verdict stepper caption"
EXCUSED = {
    "00": f"{_BEFORE} exercises visible",
    "02": f"{_BEFORE} exercises visible",
    "03": _BEFORE,
    "07": f"{_BEFORE} exercises visible minutes",
    "09": f"{_BEFORE} exercises visible minutes",
    "13": f"{_BEFORE} exercises visible",
    "18": f"{_BEFORE} exercises visible",
    "21": f"{_BEFORE} exercises visible minutes",
    "23": f"{_BEFORE} exercises visible minutes",
}
_MATHS = re.compile(r"```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$([^$]*)\$", re.DOTALL)  # the group: within a line of text
_LISTED = re.compile(r"\n {0,3}([-+*]|\d+[.)]) ")
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
    excused = EXCUSED.get(master.stem[:2], "").split()
    found += [line for rule, line in rhythm(cells, ids, master.stem) if rule not in excused]
    return [*found, *_whole(cells), *_catalogued(cells, master.stem)]


def lint_files(project: Project, slug: str) -> list[str]:
    """What is wrong with the files beside a master that every learner's copy holds: its key, and weights."""
    number, found = slug[:2], []
    key, weights = project.key(slug), project.weights(slug)
    for what, path, most, told in (
        ("key", key, KEY_BYTES, "in large cases, yield few of the results"),
        ("weights", weights, WEIGHTS_BYTES, "train a smaller network, or save float16"),
    ):
        if path.is_file() and path.stat().st_size > most:
            found.append(f"{what}: {path.stat().st_size // 1000} kB, {most // 1000} at most: {told}.")
    if weights.is_file():
        trained = project.root / "tools" / f"train_{number}.py"
        if not trained.is_file():
            found.append(f"weights: {trained.relative_to(project.root)}, which trained them, is missing.")
        if not re.search(rf"""weights\(["']{number}["']\)""", _text_of(project.oracle(slug))):
            found.append("weights: its oracles have no test that they load and score what the text says.")
    return found


def _text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _cells(cells: list[dict[str, Any]], ids: list[str]) -> Iterator[str]:
    """Rules for every cell by itself."""
    for cell, name in zip(cells, ids, strict=True):
        source = "".join(cell["source"])
        if ids.count(name) > 1:
            yield f"{name}: another cell has the same id."
        if cell["cell_type"] == "code" and source.count("\n") >= MAX_CELL_LINES:
            yield f"{name}: {source.count(chr(10)) + 1} lines; {MAX_CELL_LINES} at most: build it in steps."
        if cell["cell_type"] == "markdown" and any(_LISTED.search(m[1] or "") for m in _MATHS.finditer(source)):
            yield f"{name}: a line of a formula begins as a list does in Markdown: break it elsewhere."
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
        if cell.type == "code" and "plt.show(" in cell.source:
            yield f"{name}: show figures with plots.show, which adds the caption and the alt text."
        for call in _calls(cell, "plots.show"):
            captions = re.findall(r"Figure (\d+)\.", ast.unparse(call))
            numbers += [int(captions[0])] if captions else []
            if not captions:
                yield f'{name}: the caption begins with "Figure N.".'
            if not any(k.arg == "alt" for k in call.keywords):
                yield f"{name}: the figure lacks alt text."
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"notebook: figures are numbered {numbers}; they must be 1, 2, 3, …"
    if len(numbers) < FIGURES:
        yield f"notebook: {len(numbers)} figures; {FIGURES} at least."


def _calls(cell: Cell, function: str) -> Iterator[ast.Call]:
    """The calls of a function in a cell of code."""
    parsed = parse(cell) if cell.type == "code" else []
    for statement in parsed if not isinstance(parsed, BrokenCell) else []:
        for node in ast.walk(statement.node):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == function:
                yield node


def _numbers(shown: ast.Call) -> int:
    """How many numbers a caption holds beside that of the figure, computed ones too."""
    caption = shown.args[1] if len(shown.args) > 1 else None
    parts = caption.values if isinstance(caption, ast.JoinedStr) else [caption]
    said = "".join(str(part.value) if isinstance(part, ast.Constant) else " 0 " for part in parts)
    return len(re.findall(r"\d+(?:[.,]\d+)*", re.sub(r"^Figure \d+\.", "", said)))


def rhythm(cells: list[Cell], ids: list[str], slug: str) -> Iterator[tuple[str, str]]:
    """The budgets that a master breaks, and what its beginning or end lacks: the rule's name and a sentence."""
    by_id = dict(zip(ids, cells, strict=True))
    stubs = [name for name, cell in by_id.items() if has_solution(cell)]
    for name in stubs:
        for part, rule, budget in (("text", "text", TEXT_WORDS), ("hint2", "hint", HINT_WORDS)):
            cell = by_id.get(f"{name}-{part}")
            yield from _within(rule, f"{name}-{part}", words(cell.source) if cell else budget[0], "words", budget)
    yield from _within("exercises", "notebook", len(stubs), "exercises", EXERCISES)
    minutes = [by_id[name].metadata["s30"].get("minutes", 0) for name in stubs]
    if slug[:2] not in LONG:
        yield from _within("minutes", "notebook", sum(minutes), "minutes on its cards", MINUTES)
    shown, own = _lines(cells)
    yield from _within("visible", "notebook", shown, "visible lines of code (fold figures by their ids)", VISIBLE)
    yield from _within("share", "notebook", round(100 * own / max(shown, 1)), "% of these are the learner's", SHARE)
    gap, since = 0, "the beginning"
    for name, cell in by_id.items():
        gap += cell.metadata["s30"].get("minutes", 0) if name in stubs else 0
        if cell.type == "code" and _PICTURE.search(cell.source):
            yield from _within("gap", name, gap, f"minutes without a picture since {since}", GAP)
            gap, since = 0, name
    first = ids.index(stubs[0]) if stubs else len(cells)
    before, code = cells[:first], "\n".join(cell.source for cell in cells if cell.type == "code")
    setup = ids.index("setup") if "setup" in ids else first
    if not any(cell.type == "code" and _PICTURE.search(cell.source) for cell in cells[:setup]):
        yield (
            "opening",
            "notebook: no picture opens it, above its setup: the paper's idea, or its famous figure.",
        )
    if not any(re.search(r"^guess = ", cell.source, re.M) for cell in before if cell.type == "code"):
        yield "guess", "notebook: before the first exercise, ask for a prediction: a cell `guess = ...`."
    if "plots.verdict(" not in code:
        yield "verdict", "notebook: plots.verdict(…) ends it: the prediction, the number, the paper's."
    if "plots.stepper(" not in code:
        yield "stepper", "notebook: where something moves, a plots.stepper(…) shows it."
    for name, cell in by_id.items():
        for numbers in filter(lambda n: n > MAX_CAPTION_NUMBERS, map(_numbers, _calls(cell, "plots.show"))):
            yield "caption", f"{name}: {numbers} numbers in a caption; {MAX_CAPTION_NUMBERS} at most."
        if cell.type == "markdown" and BEGIN in cell.source and RUBRIC not in cell.source:
            yield "rubric", f"{name}: in its solution, a list below {RUBRIC} is missing."


_PICTURE = re.compile(r"\bplots\.(?:show|stepper)\(")


def _within(rule: str, where: str, count: int, what: str, budget: tuple[int, int]) -> Iterator[tuple[str, str]]:
    if not budget[0] <= count <= budget[1]:
        yield rule, f"{where}: {count} {what}; {budget[0]} to {budget[1]} are allowed."


def _lines(cells: list[Cell]) -> tuple[int, int]:
    """Lines of code that a learner sees unfolded, blank ones not counted, and how many of them are their own."""
    shown = own = 0
    for cell in cells:
        if cell.type == "code" and not cell.metadata.get("jupyter", {}).get("source_hidden"):
            inside = False
            for line in map(str.strip, cell.source.split("\n")):
                inside = line == BEGIN or (inside and line != END)
                if line and line not in (BEGIN, END):
                    shown, own = shown + 1, own + inside
    return shown, own


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
