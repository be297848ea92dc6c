"""What is out of date after which change: a message makes nothing stale, compare everything."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import ROOT

from autograder.engine.judge.keys import packed, write_key
from course.base import fingerprints
from course.base.fingerprints import DEPENDS_ON, fingerprint
from course.base.project import Project

SLUG = "03_lstm_understanding"
EVERYTHING = {"build", "audit", "results"}
ENGINE, MAKE = "autograder/engine", "course/make"
CHANGES: dict[str, tuple[str, set[str]]] = {
    "a sentence": (f"{ENGINE}/judge/words/explain.py", set()),
    "a likely cause": (f"{ENGINE}/judge/words/diagnose.py", set()),
    "how a verdict looks": (f"{ENGINE}/judge/words/report.py", set()),
    "what a command prints": ("course/learn/show.py", set()),
    "how a class is graded": ("course/teach/grading.py", set()),
    "a figure's look": ("course/plots.py", {"build"}),
    "how values are compared": (f"{ENGINE}/judge/compare.py", EVERYTHING),
    "what earns points": (f"{ENGINE}/judge/grade.py", EVERYTHING),
    "what runs in grading": (f"{ENGINE}/inside/notebook.py", EVERYTHING),
    "what may not be used": (f"{ENGINE}/inside/shortcuts.py", EVERYTHING),
    "what graders import": (f"{ENGINE}/probes.py", EVERYTHING),
    "how children are heard": (f"{ENGINE}/border/runner.py", {"results"}),
    "how masters are compiled": (f"{MAKE}/build/compiling.py", {"build"}),
    "what lint says": (f"{MAKE}/lint.py", set()),
    "what the audit tries": (f"{MAKE}/audit/cheats.py", {"audit"}),
    "the master": (f"source/{SLUG}/{SLUG}.ipynb", {"build", "audit"}),
    "the stub": (f"release/{SLUG}/{SLUG}.ipynb", {"results"}),
    "the solution": (f"solutions/{SLUG}/{SLUG}.ipynb", {"results"}),
    "the probes": (f"autograder/graders/test_{SLUG}.py", EVERYTHING),
    "the mistakes": (f"autograder/mistakes/{SLUG}.toml", {"build", "audit"}),
    "the alternatives": (f"autograder/alternatives/{SLUG}.py", {"audit"}),
    "an oracle": (f"tests/oracles/test_{SLUG}.py", {"audit"}),
    "another assignment": ("autograder/graders/test_00_numpy_and_pytorch_for_deep_learning.py", set()),
}


@pytest.fixture
def project(copied, monkeypatch) -> Project:
    oracle = copied.oracle(SLUG)
    oracle.parent.mkdir(parents=True)
    oracle.write_bytes(Project().oracle(SLUG).read_bytes())
    monkeypatch.setattr(fingerprints, "CODE", copied.root)  # as if its code ran
    return copied


@pytest.mark.parametrize(("path", "stale"), CHANGES.values(), ids=CHANGES)
def test_a_change_makes_stale_what_depends_on_it(project, path, stale):
    before = {what: fingerprint(project, SLUG, what) for what in DEPENDS_ON}
    changed = project.root / path
    content = changed.read_bytes()
    changed.write_bytes(content + b"\n# changed\n")
    assert {what for what in DEPENDS_ON if fingerprint(project, SLUG, what) != before[what]} == stale
    changed.write_bytes(content)
    assert all(fingerprint(project, SLUG, what) == before[what] for what in DEPENDS_ON)


@pytest.mark.parametrize(
    ("name", "old", "new", "stale"),
    [
        ("sigmoid-text", "Gates *do* saturate", "Gates saturate", {"build"}),
        ("why_additive", "Figure 2 shows it", "See Figure 2", {"build"}),
        ("sigmoid", "np.abs(x)", "abs(x)", {"build", "audit"}),
        ("setup", "plots.style()", "plots.style( )", {"build", "audit"}),
    ],
)
def test_a_text_makes_no_audit_stale(project, name, old, new, stale):
    master = project.source(SLUG)
    before = {what: fingerprint(project, SLUG, what) for what in DEPENDS_ON}
    notebook = json.loads(master.read_text(encoding="utf-8"))
    changed = next(cell for cell in notebook["cells"] if cell["id"] == name)
    assert old in "".join(changed["source"])
    changed["source"] = "".join(changed["source"]).replace(old, new)
    master.write_text(json.dumps(notebook), encoding="utf-8")
    assert {what for what in DEPENDS_ON if fingerprint(project, SLUG, what) != before[what]} == stale


def test_points_of_a_card_make_an_audit_stale(project):
    master = project.source(SLUG)
    before = fingerprint(project, SLUG, "audit")
    notebook = json.loads(master.read_text(encoding="utf-8"))
    check = next(cell for cell in notebook["cells"] if cell["id"] == "sigmoid-check")
    check["metadata"]["nbgrader"]["points"] += 1
    master.write_text(json.dumps(notebook), encoding="utf-8")
    assert fingerprint(project, SLUG, "audit") != before


def test_other_weights_make_a_build_stale_and_only_that(project):
    found = []
    for value in (None, 0.0, 1.0):
        if value is not None:
            project.weights(SLUG).parent.mkdir(parents=True, exist_ok=True)
            np.savez(project.weights(SLUG), W=np.full(3, value))
        found.append({what: fingerprint(project, SLUG, what) for what in DEPENDS_ON})
    assert len({str(made["build"]) for made in found}) == 3
    assert "weights" not in found[0]["build"]
    assert len({str(made[what]) for made in found for what in ("audit", "results")}) == 2


def test_a_new_module_of_a_room_counts_without_being_listed(project):
    before = fingerprint(project, SLUG, "audit")
    (project.root / ENGINE / "judge" / "leniency.py").write_text("RTOL = 1.0\n")
    assert fingerprint(project, SLUG, "audit") != before


def test_line_endings_make_nothing_stale(project):
    before = fingerprint(project, SLUG, "build")
    for path in (project.source(SLUG), project.root / ENGINE / "judge" / "compare.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert fingerprint(project, SLUG, "build") == before


def test_results_depend_on_what_a_key_says_and_not_on_what_it_was_made_from(project):
    tree = {"made_from": {"source": "one"}, "cases": [], "mistakes": []}
    write_key(tree, project.key(SLUG))
    before = fingerprint(project, SLUG, "results")
    write_key({**tree, "made_from": {"source": "other"}}, project.key(SLUG))
    assert fingerprint(project, SLUG, "results") == before
    write_key({**tree, "cases": [{"case": 0}]}, project.key(SLUG))
    assert fingerprint(project, SLUG, "results") != before


def test_the_same_key_is_the_same_bytes():
    tree = {"made_from": {"source": "one"}, "cases": [{"value": 0.1}], "mistakes": []}
    assert packed(tree) == packed(dict(tree))


def test_every_room_is_there():
    for _, rooms in DEPENDS_ON.values():
        assert all(any((ROOT / room).glob("*.py")) for room in rooms)
