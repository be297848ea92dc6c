"""The red team's corpus through this course's grader and through nbgrader's own, side by side.

    python benchmarks/redteam.py [--only NAME …] [--json FILE]

Nbgrader's own grader executes an equivalent notebook: three exercises of two points, each with a check cell of plain
asserts, half of them hidden. Its limit of time per cell is lowered to ten seconds; all else is as it comes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "redteam")]

import numpy as np  # noqa: E402
from arena import SECRET_WORD, Grader, Run, grade_corpus, ours, problems, run, solved_by  # noqa: E402
from corpus import CORPUS, Attack  # noqa: E402
from ground import Target, code_cell  # noqa: E402

SLUG = "plain"
SOLUTIONS = {
    "sigmoid": """def sigmoid(x):
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)""",
    "softmax": """def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)""",
    "row_norms": """def row_norms(x):
    return np.sqrt((x**2).sum(axis=1))""",
}
WRONG = {"sigmoid": "return x", "softmax": "return x", "row_norms": "return x[:, 0]"}
CHECKS = {
    "sigmoid": "1 / (1 + np.exp(-x))",
    "softmax": "np.exp(x) / np.exp(x).sum(axis=1)[:, None]",
    "row_norms": "np.linalg.norm(x, axis=1)",
}
VISIBLE = "np.linspace(-2, 3, 12).reshape(4, 3)"
CHECK = """x = {visible}
ref = {right}
assert np.allclose({name}(x), ref)
### BEGIN HIDDEN TESTS
x = np.random.default_rng(7).standard_normal((5, 4))
ref = {right}
assert np.allclose({name}(x), ref)
### END HIDDEN TESTS"""
CONFIG = """c = get_config()
c.CourseDirectory.course_id = "plain"
c.Execute.timeout = 10
"""


def _master() -> dict[str, Any]:
    """The three exercises with their solutions and check cells, as an author writes them for nbgrader."""
    common = {"schema_version": 3, "task": False}
    cells = [{**code_cell("import numpy as np"), "id": "setup"}]
    for name, text in SOLUTIONS.items():
        head, _, body = text.partition("\n")
        marked = f"{head}\n    ### BEGIN SOLUTION\n{body}\n    ### END SOLUTION"
        exercise = {**common, "grade": False, "solution": True, "locked": False, "grade_id": name}
        check = {**common, "grade": True, "solution": False, "locked": True, "points": 2, "grade_id": f"{name}-check"}
        asserts = CHECK.format(visible=VISIBLE, right=CHECKS[name], name=name)
        cells.append({**code_cell(marked, nbgrader=exercise), "id": name})
        cells.append({**code_cell(asserts, nbgrader=check), "id": f"{name}-check"})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}


def _nbgrader(folder: Path, seconds: float, *words: str) -> Run:
    """Run one of nbgrader's commands in a class of its own, with a private history of IPython."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return run(
        [sys.executable, "-m", "nbgrader", *words], folder, seconds,
        PATH=path, IPYTHONDIR=str(folder / ".ipython"), S30_SECRET=SECRET_WORD,
    )  # fmt: skip


def _prepare(folder: Path) -> None:
    (folder / "nbgrader_config.py").write_text(CONFIG)
    source = folder / "source" / SLUG / f"{SLUG}.ipynb"
    source.parent.mkdir(parents=True)
    source.write_text(json.dumps(_master()))
    made = _nbgrader(folder, 120, "generate_assignment", SLUG)
    if made.code:
        raise SystemExit(made.said)


@cache
def stock() -> Grader:
    """Nbgrader's own grading of the three exercises."""
    from zlib import crc32

    with tempfile.TemporaryDirectory(prefix="s30-stock-") as name:
        _prepare(Path(name))
        stub = json.loads((Path(name) / "release" / SLUG / f"{SLUG}.ipynb").read_text())
    for cell in stub["cells"]:
        cell["source"] = "".join(cell["source"]).replace("# YOUR CODE HERE\n    ", "")
    kept = Path(tempfile.mkdtemp(prefix="s30-master-")) / f"{SLUG}.ipynb"
    kept.write_text(json.dumps(_master()))
    shown = eval(VISIBLE, {"np": np})
    target = Target(
        slug=SLUG,
        stub=stub,
        solutions=SOLUTIONS,
        wrong=WRONG,
        points=dict.fromkeys(SOLUTIONS, 2.0),
        needs={name: frozenset({name}) for name in SOLUTIONS},
        first="sigmoid",
        last="row_norms",
        public=lambda: frozenset({crc32(shown.tobytes())}),
    )
    return Grader(
        target,
        (kept,),
        _prepare,
        lambda folder, seconds: _nbgrader(folder, seconds, "autograde", SLUG),
        lambda folder, students: _nbgrader(folder, 900, "generate_feedback", SLUG) and None,
    )


def results(grader: Grader, attacks: Iterable[Attack]) -> dict[str, list[str]]:
    """Attack → what was not as it should be. A batch that did not go to its end is one of these things."""
    chosen = list(attacks)
    found: dict[str, list[str]] = {}
    for items in [[item for item in chosen if not item.alone], *([item] for item in chosen if item.alone)]:
        if not items:
            continue
        after = grade_corpus(grader, items, seconds=1800 if len(items) > 1 else 120, resume=len(items) > 1)
        for item in items:
            ended = ["ends the batch"] if item.name in after.enders or (len(items) == 1 and after.enders) else []
            found[item.name] = ended + problems(grader.target, item, solved_by(grader, item), after.seen[item.name])
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="*", default=list(CORPUS), help="names of attacks")
    parser.add_argument("--json", type=Path, help="write the findings to this file too")
    chosen = parser.parse_args()
    attacks = [CORPUS[name] for name in chosen.only]
    started = time.monotonic()
    mine = results(ours(), attacks)
    theirs = results(stock(), [item for item in attacks if item.stock])
    print("| attack | from | right outcome | this course | nbgrader's own |")
    print("|---|---|---|---|---|")
    for item in attacks:
        outcome = item.outcome if isinstance(item.outcome, str) else f"0 for {', '.join(item.outcome)}"
        wanted = "; ".join([outcome, *item.canaries])
        told = _cell(theirs[item.name]) if item.stock else "–"
        print(f"| {item.name} | {item.source} | {wanted} | {_cell(mine[item.name])} | {told} |")
    for name, found in (("this course", mine), ("nbgrader's own", theirs)):
        print(f"\n{name}: {sum(not bad for bad in found.values())} right outcomes of {len(found)}", end="")
    both = [name for name in theirs if not mine[name]]
    print(f"; of those {len(theirs)} this course has {len(both)}. {time.monotonic() - started:.0f} s.")
    if chosen.json:
        chosen.json.write_text(json.dumps({"ours": mine, "stock": theirs}, indent=1))


def _cell(found: list[str]) -> str:
    return "; ".join(found).replace("|", "/").replace("\n", " ") or "✓"


if __name__ == "__main__":
    main()
