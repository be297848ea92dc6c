"""The linter: the finished masters keep the rules, and each rule that is broken is named."""

import json
from pathlib import Path

import pytest

from course.lint import lint, words
from course.project import Project

SLUG = "03_lstm_understanding"


@pytest.mark.parametrize("slug", Project().slugs())
def test_masters_keep_the_rules(slug):
    assert lint(Project().source(slug)) == []


def cell(notebook: dict, name: str) -> dict:
    return next(c for c in notebook["cells"] if c["id"] == name)


def rewrite(name: str, old: str, new: str, count: int = -1):
    def change(notebook: dict) -> None:
        found = cell(notebook, name)
        source = "".join(found["source"])
        assert old in source
        found["source"] = source.replace(old, new, count)

    return change


def with_metadata(name: str, **values):
    def change(notebook: dict) -> None:
        cell(notebook, name)["metadata"]["s30"].update(values)

    return change


def without(name: str):
    return lambda notebook: notebook["cells"].remove(cell(notebook, name))


def rename(name: str, new: str):
    return lambda notebook: cell(notebook, name).update(id=new)


def with_output(notebook: dict) -> None:
    cell(notebook, "agree")["execution_count"] = 3


def long_cell(notebook: dict) -> None:
    cell(notebook, "agree")["source"] = "x = 1\n" * 60


CARD = "**1 point · 10 minutes · difficulty 1 of 5 · NumPy forward** By hand: nothing."
BROKEN = {
    "an id that is no slug": (rename("agree", "8f3 a"), "must be a slug"),
    "an id twice": (rename("agree", "setup"), "another cell has the same id"),
    "a grade_id of its own": (rename("sigmoid-check", "sigmoid-test"), "it must be the cell's id"),
    "outputs": (with_output, "no outputs and no execution counts"),
    "a long cell": (long_cell, "45 at most"),
    "no hint": (without("sigmoid-hint2"), "the cells round a stub must be"),
    "no check": (without("gru_cell-check"), "the cells round a stub must be"),
    "another check": (rewrite("sigmoid-check", "sigmoid", "gru_cell"), 'its text must be check("sigmoid")'),
    "no card": (rewrite("sigmoid-text", "**1 point", "1 point"), "the card is missing"),
    "another card": (rewrite("sigmoid-text", "10 minutes", "15 minutes"), "the card says"),
    "no hand case": (rewrite("sigmoid-text", "By hand:", "So:"), "worked by hand is missing"),
    "a short text": (
        lambda nb: cell(nb, "sigmoid-text").update(source="**1 point · 10 minutes"),
        "the card is missing",
    ),
    "an open hint": (rewrite("sigmoid-hint1", "<details>", "<p>"), "a hint is folded"),
    "an unknown track": (with_metadata("sigmoid", track="sideways"), "a known track"),
    "a track out of order": (with_metadata("gru_cell", track="forward"), "comes after a later track"),
    "no markers": (rewrite("sigmoid", "### BEGIN SOLUTION", "# here"), "stands between"),
    "an argument unexplained": (
        rewrite("sigmoid", "        x: any shape", "        y: any shape"),
        "does not explain `x`",
    ),
    "no type hints": (rewrite("sigmoid", "x: np.ndarray) ->", "x) ->"), "type hints are missing (x)"),
    "nothing returned": (rewrite("sigmoid", "Returns:", "Gives:"), "lacks Returns"),
    "a figure without alt text": (rewrite("flow-figure", "    alt=", "    text="), "lacks alt text"),
    "a figure out of order": (rewrite("flow-figure", "Figure 2.", "Figure 7."), "they must be 1, 2, 3"),
    "no closing section": (without("closing"), "## What you learned is missing"),
    "no written question": (without("why_additive"), "graded by hand, is missing"),
    "torch too early": (
        rewrite("setup", "import numpy as np", "import numpy as np\nimport torch"),
        "torch is imported before",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), BROKEN.values(), ids=BROKEN)
def test_a_broken_rule_is_named(change, sentence, tmp_path):
    notebook = json.loads(Project().source(SLUG).read_text(encoding="utf-8"))
    change(notebook)
    path: Path = tmp_path / f"{SLUG}.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert any(sentence in line for line in lint(path)), lint(path)


def test_words_are_words_of_prose():
    text = (
        "Three *plain* words, $x^2 + y$ and `code` too. <b>No</b> [link](https://example.org/a)\n\n$$ z = w \\tag{1} $$"
    )
    assert words(text) == 8
