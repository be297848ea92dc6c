"""The linter: the finished masters keep the rules, and each rule that is broken is named."""

import json
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from course.base.project import Project
from course.cli import app
from course.make import lint as rules
from course.make.fix import fixed
from course.make.lint import EXCUSED, KEY_BYTES, WEIGHTS_BYTES, lint, lint_files, words

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
    "an id that is no slug": (rename("agree", "8f3 a"), "lint --fix 03"),
    "an id twice": (rename("agree", "setup"), "lint --fix 03"),
    "a stub twice": (
        lambda nb: nb["cells"].insert(0, dict(cell(nb, "sigmoid"))),
        "another cell has the same id",
    ),
    "a grade_id of its own": (rename("sigmoid-check", "sigmoid-test"), "lint --fix 03"),
    "outputs": (with_output, "lint --fix 03"),
    "a long cell": (long_cell, "45 at most"),
    "no hint": (without("sigmoid-hint2"), "the cells round a stub must be"),
    "no check": (without("gru_cell-check"), "the cells round a stub must be"),
    "another check": (
        rewrite("sigmoid-check", "sigmoid", "gru_cell"),
        "sigmoid-check, the last of them the call of check",
    ),
    "no card": (rewrite("sigmoid-text", "**1 point", "1 point"), "the card is missing"),
    "another card": (rewrite("sigmoid-text", "10 minutes", "15 minutes"), "lint --fix 03"),
    "no hand case": (rewrite("sigmoid-text", "By hand:", "So:"), "worked by hand is missing"),
    "a short text": (
        lambda nb: cell(nb, "sigmoid-text").update(source="**1 point · 10 minutes"),
        "**1 point · 10 minutes is no card",
    ),
    "a formula that is a list": (
        rewrite("sigmoid-text", "By hand:", "So $a\n- b$. By hand:"),
        "a line of a formula begins as a list does",
    ),
    "an open hint": (rewrite("sigmoid-hint1", "<details>", "<p>"), "a hint is folded"),
    "a card in the metadata that is not the text's": (with_metadata("sigmoid", track="sideways"), "lint --fix 03"),
    "numpy.random forbidden": (with_metadata("sigmoid", forbids=["numpy.random"]), "rules out numpy.random"),
    "an unknown track": (rewrite("sigmoid-text", "NumPy forward**", "sideways**"), "sideways** is no card"),
    "no time on a card": (
        rewrite("sigmoid-text", "10 minutes · ", ""),
        "difficulty 1 of 5 · NumPy forward** is no card",
    ),
    "a need that is no exercise": (with_metadata("gru_cell", needs=["gate"]), "needs `gate`, which is no exercise"),
    "a need that is not declared": (with_metadata("lstm_cell_forward", needs=[]), "its solution calls `sigmoid`"),
    "a need behind given code": (
        lambda nb: [
            rewrite("check-yourself", "rng = ", "def again(x):\n    return lstm_forward(x)\n\n\nrng = ")(nb),
            rewrite("lstm_cell_backward", "    ### BEGIN SOLUTION", "    ### BEGIN SOLUTION\n    again(dh)")(nb),
        ],
        "lstm_cell_backward: its solution calls `lstm_forward`",
    ),
    "nothing to reread": (with_metadata("sigmoid", reread=""), "`reread` is empty"),
    "more time than the catalog's": (rewrite("sigmoid-text", "10 minutes", "110 minutes"), "the catalog says 210"),
    "a heading without the name": (
        rewrite("sigmoid-text", "`sigmoid`", "the sigmoid"),
        "a heading that names `sigmoid`",
    ),
    "a track out of order": (rewrite("gru_cell-text", "PyTorch**", "NumPy forward**"), "comes after a later track"),
    "no markers": (rewrite("sigmoid", "### BEGIN SOLUTION", "# here"), "above it is no stub of sigmoid"),
    "a marker that does not end": (rewrite("sigmoid", "### END SOLUTION", ""), "stands between"),
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
    for changed in notebook["cells"]:
        changed["source"] = "".join(changed["source"]).splitlines(keepends=True)
    path.write_text(json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    assert any(sentence in line for line in lint(path)), lint(path)


def typed_in_an_editor(slug: str, *, ids_of: str) -> dict:
    """A master as an editor saves it after a run, with random ids for the cells of `exercises` or for `all`."""
    notebook = json.loads(Project().source(slug).read_text(encoding="utf-8"))
    cards = {c["id"]: c["metadata"]["s30"] for c in notebook["cells"] if "s30" in c["metadata"]}
    parts = {f"{name}{part}" for name in cards for part in ("-text", "", "-hint1", "-hint2", "-hint3", "-check")}
    for typed in notebook["cells"]:
        own = {key: cards[typed["id"]][key] for key in ("needs", "forbids", "reread")} if typed["id"] in cards else None
        typed["metadata"] = {"tags": [], "editable": True} | ({"s30": own} if own else {})
        if ids_of == "all" or typed["id"] in parts:
            typed["id"] = str(uuid.uuid4())
        if typed["cell_type"] == "code":
            typed.update(execution_count=7, outputs=[{"output_type": "stream", "name": "stdout", "text": ["7\n"]}])
    return notebook


@pytest.mark.parametrize("slug", Project().slugs())
def test_what_a_master_carries_beside_its_text_comes_from_the_text(slug, tmp_path):
    path = tmp_path / f"{slug}.ipynb"
    path.write_text(json.dumps(typed_in_an_editor(slug, ids_of="exercises")), encoding="utf-8")
    assert fixed(path) == Project().source(slug).read_text(encoding="utf-8")


def test_cells_without_a_place_in_an_exercise_are_named_after_their_heading(tmp_path):
    path = tmp_path / f"{SLUG}.ipynb"
    path.write_text(json.dumps(typed_in_an_editor(SLUG, ids_of="all")), encoding="utf-8")
    path.write_text(fixed(path), encoding="utf-8")
    ids = [c["id"] for c in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    assert ids[:5] == ["title", "setup", "one-step-text", "one-step-figure", "sigmoid-text"]
    assert ids[-3:] == ["question-text", "question", "what-you-learned-text"]
    assert len(set(ids)) == len(ids)
    assert lint(path) == []


def test_a_new_exercise_begins_with_the_equations_of_its_text(tmp_path):
    notebook = json.loads(Project().source(SLUG).read_text(encoding="utf-8"))
    del cell(notebook, "lstm_cell_forward")["metadata"]["s30"]
    path = tmp_path / f"{SLUG}.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    card = cell(json.loads(fixed(path)), "lstm_cell_forward")["metadata"]["s30"]
    assert card["reread"] == "equations (2) to (5)"
    assert card["needs"] == card["forbids"] == []


def test_a_picture_in_a_text_is_kept(tmp_path):
    notebook = json.loads(Project().source(SLUG).read_text(encoding="utf-8"))
    cell(notebook, "cell-text")["attachments"] = {"a.png": {"image/png": "iVBORw0KGgo="}}
    path = tmp_path / f"{SLUG}.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert cell(json.loads(fixed(path)), "cell-text")["attachments"] == {"a.png": {"image/png": "iVBORw0KGgo="}}


def test_an_answer_keeps_its_id_without_a_question_above_it(tmp_path):
    notebook = json.loads(Project().source(SLUG).read_text(encoding="utf-8"))
    without("why_additive-text")(notebook)
    path = tmp_path / f"{SLUG}.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert cell(json.loads(fixed(path)), "why_additive")["metadata"]["nbgrader"]["solution"]
    assert "notebook: every written question has a card: **2 points · graded by hand**." in lint(path)


def test_lint_fix_writes_the_master_and_nothing_else(tmp_path, monkeypatch):
    master, path = Project().source(SLUG), Project(tmp_path).source(SLUG)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(typed_in_an_editor(SLUG, ids_of="exercises")), encoding="utf-8")
    monkeypatch.setenv("S30_ROOT", str(tmp_path))
    assert CliRunner().invoke(app, ["lint"]).exit_code == 1
    assert CliRunner().invoke(app, ["lint", "--fix"]).exit_code == 0
    assert path.read_bytes() == master.read_bytes()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_words_are_words_of_prose():
    text = (
        "Three *plain* words, $x^2 + y$ and `code` too. <b>No</b> [link](https://example.org/a)\n\n$$ z = w \\tag{1} $$"
    )
    assert words(text) == 8


def test_files_that_are_too_large_for_every_learners_copy_are_named(tmp_path):
    project = Project(tmp_path)
    key, weights, oracle = project.key(SLUG), project.weights(SLUG), project.oracle(SLUG)
    assert lint_files(project, SLUG) == []  # there are none yet
    for path in (key, weights, oracle, tmp_path / "tools" / "train_03.py"):
        path.parent.mkdir(parents=True, exist_ok=True)
    key.write_bytes(bytes(KEY_BYTES))
    assert lint_files(project, SLUG) == []
    key.write_bytes(bytes(KEY_BYTES + 1))
    weights.write_bytes(bytes(WEIGHTS_BYTES + 1))
    large_key, large_weights, no_script, no_test = lint_files(project, SLUG)
    assert "400 kB, 400 at most" in large_key
    assert "1000 kB, 1000 at most" in large_weights
    assert "tools/train_03.py, which trained them, is missing" in no_script
    assert "no test that they load" in no_test
    (tmp_path / "tools" / "train_03.py").touch()
    oracle.write_text('held = data.weights("03")\n', encoding="utf-8")
    key.write_bytes(b"")
    weights.write_bytes(b"")
    assert lint_files(project, SLUG) == []


def test_the_files_of_every_assignment_keep_the_rules():
    project = Project()
    assert [line for slug in project.slugs() for line in lint_files(project, slug)] == []


def broken_by(slug: str) -> set[str]:
    """The rules of rhythm that a master breaks."""
    notebook = fixed(Project().source(slug)).encode()
    ids = [found["id"] for found in json.loads(notebook)["cells"]]
    return {rule for rule, _ in rules.rhythm(rules.parse_notebook(notebook, slug), ids, slug)}


@pytest.mark.parametrize("slug", [s for s in Project().slugs() if s[:2] in EXCUSED])
def test_the_list_of_excuses_only_shrinks(slug):
    assert set(EXCUSED[slug[:2]].split()) == broken_by(slug), "a rule that a master keeps by now needs no excuse"


def test_only_the_first_nine_are_excused():
    assert sorted(EXCUSED) == ["00", "02", "03", "07", "09", "13", "18", "21", "23"]


RHYTHM = {  # what is done to a master that breaks none of these rules by itself → rule
    "many exercises": (lambda nb: None, "EXERCISES", (2, 3), "exercises: notebook: 9 exercises; 2 to 3"),
    "a long text": (lambda nb: None, "TEXT_WORDS", (1, 2), "text: sigmoid-text: "),
    "a long hint": (lambda nb: None, "HINT_WORDS", (1, 2), "hint: sigmoid-hint2: "),
    "many minutes": (lambda nb: None, "MINUTES", (0, 10), "minutes: notebook: 195 minutes on its cards"),
    "much to see": (lambda nb: None, "VISIBLE", (0, 10), "visible: notebook: 312 visible lines"),
    "little of one's own": (lambda nb: None, "SHARE", (90, 100), "share: notebook: 18 % of these"),
    "a long way to a picture": (lambda nb: None, "GAP", (0, 100), "gap: flow-figure: 130 minutes without a picture"),
    "folded code is not seen": (
        lambda nb: cell(nb, "agree")["metadata"].update(jupyter={"source_hidden": True}),
        "VISIBLE",
        (0, 10),
        "visible: notebook: 29",
    ),
}


@pytest.mark.parametrize(("change", "budget", "value", "told"), RHYTHM.values(), ids=RHYTHM)
def test_a_budget_that_is_broken_is_named(change, budget, value, told, monkeypatch):
    monkeypatch.setattr(rules, budget, value)
    notebook = json.loads(Project().source(SLUG).read_text(encoding="utf-8"))
    change(notebook)
    cells = rules.parse_notebook(json.dumps(notebook).encode(), SLUG)
    found = [f"{rule}: {line}" for rule, line in rules.rhythm(cells, [c["id"] for c in notebook["cells"]], SLUG)]
    assert any(line.startswith(told) for line in found), found


SHAPE = {  # a rule → what keeps it, in a cell above the setup or at the end
    "opening": 'plots.show(fig, "Figure 1. x", alt="y")',
    "guess": "guess = ...",
    "verdict": 'plots.verdict({"x": (guess, 1.0, 2.0)})',
    "stepper": 'plots.stepper([fig], ["x"], alt="y")',
}


@pytest.mark.parametrize("rule", SHAPE)
def test_what_a_notebook_opens_and_ends_with_is_asked_for(rule):
    notebook = json.loads(Project().source(SLUG).read_text(encoding="utf-8"))
    added = dict(cell(notebook, "setup"), id="added", source=SHAPE[rule])

    def found() -> set[str]:
        cells = rules.parse_notebook(json.dumps(notebook).encode(), SLUG)
        return {rule for rule, _ in rules.rhythm(cells, [c["id"] for c in notebook["cells"]], SLUG)}

    assert rule in found()
    notebook["cells"].insert(1, added)
    assert rule not in found()


def test_an_answer_without_a_rubric_and_a_caption_full_of_numbers_are_named():
    notebook = json.loads(Project().source(SLUG).read_text(encoding="utf-8"))
    answer = cell(notebook, "why_additive")
    answer["source"] = "".join(answer["source"]).replace("### END", "**What earns the points**\n\n- 2: x\n### END")
    shown = cell(notebook, "flow-figure")
    shown["source"] = "".join(shown["source"]).replace("Figure 2.", "Figure 2. 1 2 3 4")
    cells = rules.parse_notebook(json.dumps(notebook).encode(), SLUG)
    found = {rule for rule, _ in rules.rhythm(cells, [c["id"] for c in notebook["cells"]], SLUG)}
    assert "rubric" not in found
    assert "caption" in found
