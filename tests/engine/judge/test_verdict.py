"""A verdict is data: nothing is lost when it is kept, and text is made from it, never the other way round."""

from __future__ import annotations

import ast
import json

import pytest
from conftest import ROOT

from autograder.engine.judge.verdict import Label, Reason, Status, Verdict
from autograder.engine.judge.words.report import LOOKS, as_html, as_text

REASONS = (
    Reason(Label.CALLED, "f(x: (2,) float64)"),
    Reason(Label.CAUSE, "the sign. Reread: not a label"),
    Reason(Label.CASES, "2 of 3 fail; this is the first."),
)
WRONG = Verdict(
    "03/f", "forward", Status.FAILED, 0.0, 2.0, "`y` is wrong.", REASONS, mistake="sign_flipped", case="probe(n=2)"
)


def test_a_verdict_that_was_kept_is_the_same():
    kept = json.loads(json.dumps(WRONG.as_tree()))
    assert Verdict.from_tree(kept) == WRONG
    assert Verdict.from_tree(kept).status is Status.FAILED


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "Failed"},
        {"status": "passed"},
        {"points": 1.0},
        {"reasons": [["Likely", "the sign"]]},
        {"reasons": [["Where"]]},
        {"more": 1},
    ],
    ids=str,
)
def test_what_is_no_verdict_is_refused(changes):
    with pytest.raises((KeyError, TypeError, ValueError)):
        Verdict.from_tree({**WRONG.as_tree(), **changes})


def test_the_report_names_the_mistake_and_the_case():
    assert WRONG.as_json() == {
        "id": "03/f",
        "track": "forward",
        "status": "failed",
        "points": 0.0,
        "max_points": 2.0,
        "message": "`y` is wrong.\nCalled: f(x: (2,) float64)\nLikely cause: the sign. Reread: not a label\n"
        "Cases: 2 of 3 fail; this is the first.",
        "mistake": "sign_flipped",
        "case": "probe(n=2)",
    }
    assert type(WRONG.as_json()["status"]) is str  # as it crosses to another process of pytest-xdist


def test_every_ending_has_a_look():
    assert set(LOOKS) == set(Status)
    assert [status for status in Status if status.untouched] == [Status.NOT_ATTEMPTED, Status.BLOCKED]


def test_only_labels_are_bold_whatever_the_texts_say():
    page = as_html(WRONG, ["Where: here"])
    assert page.count("<b>") == len(REASONS) + 1
    assert "<b>Likely cause:</b> the sign. Reread: not a label" in page
    assert as_text(WRONG).splitlines()[1:] == [f"  {line}" for line in WRONG.message.splitlines()]


def test_nothing_looks_for_a_label_in_a_text():
    for path in [*(ROOT / "autograder" / "engine").rglob("*.py"), *(ROOT / "course").rglob("*.py")]:
        if path.name == "verdict.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not node.value.startswith(tuple(f"{label}:" for label in Label)), path
