"""A broken engine is noticed: by a small battery of canaries, or by the engine itself, which refuses to work.

A grader that gives points for nothing looks just like one that works. So each test here breaks the engine in one way
and asserts that the breakage shows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from conftest import functions, index_of, make_notebook, public_inputs, tiny_assignment

from autograder.engine.assignment import Assignment, with_needs
from autograder.engine.border.rounds import Observations
from autograder.engine.border.runner import Observer
from autograder.engine.inside.notebook import _parsed, fingerprint, read_notebook
from autograder.engine.inside.observe import PUBLIC_SEED
from autograder.engine.judge import compare as comparing
from autograder.engine.judge import grade as grading
from autograder.engine.judge.compare import Difference
from autograder.engine.judge.grade import grade, public_key
from autograder.engine.judge.keys import AnswerKeyError, Key, expect, read_key, read_tree, record_key, write_key
from autograder.engine.judge.verdict import Status, Verdict

SECRET = 987654
FOLDER = TemporaryDirectory(prefix="canaries-")  # goes when the tests end

# Name of an exercise → what is handed in for it, and the status that a healthy engine gives
BATTERY = {
    "right": ("return 2 * x", "passed"),
    "right_otherwise": ("return np.array([value + value for value in x.tolist()])", "passed"),
    "solved_before_its_stub": ("return x + x", "passed"),
    "zeros": ("return np.zeros_like(x)", "failed"),
    "ones": ("return np.ones_like(x)", "failed"),
    "input_returned": ("return x", "failed"),
    "wrong_sign": ("return -2 * x", "failed"),
    "almost": ("return 2 * x * (1 + 1e-7)", "failed"),
    "single_precision": ("return np.float32(2 * x)", "failed"),
    "column": ("return 2 * x[:, None]", "failed"),
    "not_a_number": ("return 2 * x * np.nan", "failed"),
    "nothing": ("return None", "failed"),
    "changes_its_argument": ("x *= 2\n    return x.copy()", "failed"),
    "raises": ("return x['no']", "error"),
    "ends_the_process": ("import os; os._exit(0)", "crashed"),
    "shortcut": ("import torch; return 2 * x", "forbidden"),
    "only_public": ("return 2 * x if zlib.crc32(x.tobytes()) in known else x", "failed"),
    "needs_a_wrong_one": ("zeros(x); return 2 * x", "blocked"),
    "needs_what_needs_it": ("needs_a_wrong_one(x); return 2 * x", "blocked"),
    "may_need_a_wrong_one": ("return 2 * x", "passed"),
    "stub": ("raise NotImplementedError()", "not_attempted"),
    "absent": ("", "missing"),
}
NEEDS = {
    "needs_a_wrong_one": ["zeros"],
    "needs_what_needs_it": ["needs_a_wrong_one"],
    "may_need_a_wrong_one": ["zeros"],
}


@cache
def battery() -> tuple[Path, Assignment]:
    """The notebook of the battery and its assignment."""
    folder = Path(FOLDER.name)
    assignment = tiny_assignment(folder, BATTERY, needs=NEEDS)
    cells = functions({name: body for name, (body, _) in BATTERY.items() if name != "absent"})
    cells[0] += f"\nimport zlib\nknown = {sorted(public_inputs(assignment, 'only_public', 0))}"
    cells.append("def solved_before_its_stub(x):\n    raise NotImplementedError()")
    return make_notebook(cells, folder / "notebook.ipynb"), assignment


def canaries() -> list[str]:
    """What the engine gets wrong on the battery, in sentences; nothing if it is healthy."""
    notebook, assignment = battery()
    said = []
    for seed in (PUBLIC_SEED, SECRET):
        found = {verdict.name: verdict for verdict in grade(notebook, assignment, seed=seed)}
        for name, (_, wanted) in BATTERY.items():
            if seed == PUBLIC_SEED and name == "only_public":
                wanted = "passed"
            if name not in found:
                said.append(f"{name} has no verdict.")
                continue
            verdict = found[name]
            if verdict.status != wanted:
                said.append(f"{name} is {verdict.status} and should be {wanted}.")
            if verdict.points != (verdict.max_points if wanted == "passed" else 0):
                said.append(f"{name} earns {verdict.points} of {verdict.max_points} points.")
    return said


def test_a_healthy_engine_gets_everything_right():
    assert canaries() == []


# The engine sabotaged -----------------------------------------------------------------------------------------------


def observed_reference(cells: Any, assignment: Assignment, *args: Any, **how: Any) -> Observer:
    """What grading would look at if it took the reference in place of the submission."""
    assert assignment.reference is not None
    return Observer(read_notebook(assignment.reference), assignment, *args, **{**how, "skip": ()})


class Blind(Observer):
    """Sees nothing."""

    def observe(self, *args: Any, **how: Any) -> Observations:
        return Observations()


def key_with(**changes: Any) -> Callable:
    """A public key in which every value is changed."""

    def changed(assignment: Assignment) -> Key:
        key = public_key(assignment)
        cases = {
            place: replace(case, values={name: replace(value, **changes) for name, value in case.values.items()})
            for place, case in key.cases.items()
        }
        return replace(key, cases=cases)

    return changed


SABOTAGE = {
    "compare_finds_nothing": (comparing.compare, lambda *args, **how: None),
    "compare_finds_something_always": (comparing.compare, lambda *args, **how: Difference("values", "", "It differs.")),
    "what_is_called_is_forgotten": (grading._calls, lambda assignment, exercise, code, key, seen: set()),
    "all_that_is_needed_counts_as_called": (grading._calls, lambda a, exercise, code, key, seen: set(exercise.needs)),
    "needs_are_forgotten": (with_needs, lambda exercises, names: set(names) if len(names) > 1 else set()),
    "stubs_replace_solved_copies": (grading.later_stubs, lambda assignment, code: []),
    "nothing_is_seen_in_the_text": (grading.static_verdict, lambda exercise, code: None),
    "every_function_is_a_stub": (fingerprint, lambda node: ""),
    "the_reference_is_graded_instead": (Observer, observed_reference),
    "nothing_is_observed": (Observer, Blind),
    "the_second_seed_is_forgotten": (expect, lambda assignment, exercises, seed: {}),
    "every_judge_is_content": (public_key, key_with(judge=lambda got, expected: None)),
    "everything_counts_as_constant": (public_key, key_with(varies=False)),
    "everything_counts_as_mere_consistency": (public_key, key_with(consistency=True)),
    "any_tolerance_will_do": (public_key, key_with(rtol=1.0)),
    "the_key_is_empty": (public_key, lambda assignment: replace(public_key(assignment), cases={})),
}


def put_in_place(healthy: Callable, broken: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace a function of the engine by whatever name its modules hold it."""
    modules = [module for name, module in sys.modules.items() if name.startswith("autograder.engine")]
    places = [(module, name) for module in modules for name, value in vars(module).items() if value is healthy]
    assert places
    _parsed.cache_clear()  # what is known of a text was found out by the engine when it was whole
    for module, name in places:
        monkeypatch.setattr(module, name, broken)


@pytest.mark.parametrize(("healthy", "broken"), SABOTAGE.values(), ids=SABOTAGE)
def test_a_broken_engine_is_noticed(healthy, broken, monkeypatch):
    battery()  # made while the engine is whole
    put_in_place(healthy, broken, monkeypatch)
    try:
        said = canaries()
    except Exception as refusal:  # the engine noticed it first
        said = [str(refusal)]
    assert said


def test_a_table_of_wide_tolerances_is_noticed(monkeypatch):
    monkeypatch.setitem(comparing.RTOL, "float64", 1e-5)
    assert canaries()


def test_shortcuts_that_nobody_looks_for_are_noticed(monkeypatch):
    monkeypatch.setattr(grading, "shortcut", lambda code, name, forbidden, stub=None: None)
    assert canaries()


# Verdicts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [status for status in Status if status not in ("passed", "partly")])
def test_a_verdict_with_points_but_without_a_pass_is_refused(status):
    assert Verdict("03/f", "forward", status, 0.0, 2.0, "").points == 0
    for points in (2.0, 0.5, 1e-9, -1.0, float("nan")):
        with pytest.raises(ValueError, match="worth"):
            Verdict("03/f", "forward", status, points, 2.0, "")


@pytest.mark.parametrize(
    ("status", "points"),
    [
        ("passed", 0.0),
        ("passed", 1.9),
        ("passed", 2.1),
        ("partly", 2.1),
        ("partly", -0.1),
        ("partly", float("nan")),
        ("Passed", 2.0),
        ("", 0.0),
        ("perfect", 2.0),
    ],
)
def test_a_verdict_with_points_that_do_not_fit_its_status_is_refused(status, points):
    with pytest.raises(ValueError, match="worth"):
        Verdict("03/f", "forward", status, points, 2.0, "")


# Keys that could give points for nothing ----------------------------------------------------------------------------

IMPORTS = """
import numpy as np
from autograder.engine.probes import agree, named, observe, probe
"""
GOOD = """
@probe("f", cases=[(3,)])
def p(impl, rng, size):
    x = rng.standard_normal(size)
    yield "y", impl.f(x)
"""


def one_probe(*lines: str, cases: str = "[()]", parameters: str = "") -> str:
    """A probe of `f` with these lines."""
    body = "".join(f"    {line}\n" for line in lines)
    return f'@probe("f", cases={cases})\ndef q(impl, rng{parameters}):\n{body}'


def record(folder: Path, grader: str, names: tuple[str, ...] = ("f",), **how: Any) -> dict[str, Any]:
    """The key of an assignment that is graded by `grader`."""
    assignment = tiny_assignment(folder, names, grader=IMPORTS + grader, key=False, **how)
    return record_key(assignment, folder / "mistakes.toml", {})


def test_a_good_grader_gives_a_key(tmp_path):
    (case,) = record(tmp_path, GOOD)["cases"]
    assert case["values"]["y"]["varies"] is True


DRAW = "x = rng.standard_normal(3)"
REFUSED = {
    "no_probe": ("", "no probe"),
    "no_case": (one_probe('yield "y", 1', cases="[]"), "no probe"),
    "yields_nothing": (one_probe(DRAW, "impl.f(x)", "yield from ()"), "nothing"),
    "one_case_yields_nothing": (
        GOOD + one_probe("for k in range(n):", "    yield str(k), 1.0", cases="[0, 2]", parameters=", n"),
        "nothing",
    ),
    "same_at_every_seed": (one_probe('yield "y", impl.f(np.ones(3))'), "varies"),
    "only_a_shape": (one_probe(DRAW, 'yield "shape", list(impl.f(x).shape)'), "varies"),
    "only_consistency": (one_probe(DRAW, 'yield "y", agree(impl.f(x), 2 * x)'), "varies"),
    "one_part_is_the_same_at_every_seed": (
        one_probe(
            DRAW,
            'yield "y", impl.f(x if drawn else np.ones(3))',
            cases='[True, False], part="drawn"',
            parameters=", drawn",
        ),
        "drawn=False",
    ),
    "one_part_alone": (one_probe(DRAW, 'yield "y", impl.f(x)', cases='[1], part="n"', parameters=", n"), "single part"),
    "raises_on_the_reference": (one_probe(DRAW, 'yield "y", impl.f(x)["y"]'), "fails on the reference"),
    "of_another_exercise": (GOOD + one_probe(DRAW, 'yield "y", impl.f(x)').replace('"f"', '"other"'), "other"),
    "draws_after_the_call": (
        one_probe(DRAW, 'yield "y", impl.f(x)', "z = rng.standard_normal(3)", 'yield "z", impl.f(z)'),
        "draws",
    ),
    "draws_from_elsewhere": (one_probe("x = np.random.standard_normal(3)", 'yield "y", impl.f(x)'), "random"),
}


@pytest.mark.parametrize(("grader", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_grader_that_could_give_points_for_nothing_gets_no_key(grader, reason, tmp_path):
    with pytest.raises(AnswerKeyError, match=reason):
        record(tmp_path, grader)


def test_two_probes_of_one_name_are_refused(tmp_path):
    """Python would keep only the second, and nobody would miss the first."""
    with pytest.raises((AnswerKeyError, ValueError), match="q"):
        record(tmp_path, one_probe(DRAW, 'yield "y", impl.f(x)') + one_probe(DRAW, 'yield "z", impl.f(x)'))


def test_parts_that_no_parameter_tells_are_refused(tmp_path):
    with pytest.raises((AnswerKeyError, ValueError), match="q has no parameter 'm'"):
        record(tmp_path, one_probe(DRAW, 'yield "y", impl.f(x)', cases='[1], part="m"', parameters=", n"))


def test_a_probe_may_draw_in_the_arguments_of_its_first_call(tmp_path):
    assert record(tmp_path, one_probe('yield "y", impl.f(rng.standard_normal(3))'))


def test_a_call_that_the_master_does_not_declare_is_refused(tmp_path):
    """Else the learner would be told nothing when what is called is wrong."""
    both = GOOD.replace("impl.f(x)", "impl.f(impl.g(x))") + GOOD.replace('"f"', '"g"').replace("impl.f", "impl.g")
    with pytest.raises(AnswerKeyError, match="needs"):
        record(tmp_path / "undeclared", both.replace("def p", "def q", 1), ("f", "g"))
    assert record(tmp_path / "declared", both.replace("def p", "def q", 1), ("f", "g"), needs={"f": ["g"]})


@pytest.mark.parametrize("made_from", [[], "yesterday", None, {}, {"grader": "another"}], ids=repr)
def test_a_key_that_does_not_say_what_it_was_made_from_is_refused(tmp_path, made_from):
    write_key({"made_from": made_from, "cases": [], "mistakes": []}, tmp_path / "key.npz")
    with pytest.raises(AnswerKeyError, match="run `s30 build`"):
        read_key(tmp_path / "key.npz", tmp_path / "grader.py")


def test_a_mistake_that_no_probe_sees_is_refused(tmp_path):
    (tmp_path / "mistakes.toml").write_text(
        "[f.none_at_all]\nhint = 'you wrote it otherwise.'\nchange = [['2 * x', 'x * 2']]\n"
    )
    with pytest.raises(AnswerKeyError, match="none_at_all"):
        record(tmp_path, GOOD)


def test_a_mistake_of_no_exercise_is_refused(tmp_path):
    (tmp_path / "mistakes.toml").write_text("[g.tripled]\nhint = 'that is 3 x.'\nchange = [['2 * x', '3 * x']]\n")
    with pytest.raises(AnswerKeyError, match=r"mistakes\.toml has mistakes for \['g'\], which 42_doubling lacks"):
        record(tmp_path, GOOD)


def handed_in(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Verdict:
    """The verdict on a right answer when the key is changed."""
    assignment = tiny_assignment(folder, ["f"], grader=IMPORTS + GOOD)
    tree = read_tree(assignment.key)
    change(tree)
    write_key(tree, assignment.key)
    notebook = make_notebook(functions({"f": "return 2 * x"}), folder / "notebook.ipynb")
    (verdict,) = grade(notebook, assignment)
    return verdict


def test_with_an_unchanged_key_the_right_answer_passes(tmp_path):
    assert handed_in(tmp_path, lambda tree: None).points == 1.0


CHANGED_KEYS = {
    "no_cases": lambda tree: tree["cases"].clear(),
    "no_values": lambda tree: tree["cases"][0]["values"].clear(),
    "values_that_do_not_vary": lambda tree: tree["cases"][0]["values"]["y"].update(varies=False),
    "values_for_consistency_only": lambda tree: tree["cases"][0]["values"]["y"].update(consistency=True),
    "other_inputs": lambda tree: tree["cases"][0].update(inputs="0123456789abcdef"),
    "no_inputs": lambda tree: tree["cases"][0].update(inputs=""),
    "cases_of_another_exercise": lambda tree: tree["cases"][0].update(exercise="g"),
    "cases_of_another_probe": lambda tree: tree["cases"][0].update(probe="q"),
    "one_more_case": lambda tree: tree["cases"].append({**tree["cases"][0], "case": 1}),
}


@pytest.mark.parametrize("change", CHANGED_KEYS.values(), ids=CHANGED_KEYS)
def test_a_key_that_does_not_fit_gives_no_points(change, tmp_path):
    assert handed_in(tmp_path, change).points == 0


def test_other_inputs_are_said_to_be_no_fault_of_the_answer(tmp_path):
    verdict = handed_in(tmp_path, lambda tree: tree["cases"][0].update(inputs="0123456789abcdef"))
    assert verdict.status != "failed"
    assert "inputs differ" in verdict.message
    assert "numpy" in verdict.message


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: np.savez(path, other=np.zeros(1)),
        lambda path: np.savez(path, cases=np.array([{"cases": []}], dtype=object)),
        lambda path: np.savez(path, cases=np.frombuffer(b"{not json", np.uint8)),
        lambda path: write_key(read_tree(path) | {"cases": [{}]}, path),
    ],
    ids=["missing", "empty", "cut_short", "another_array", "pickled", "no_json", "another_tree"],
)
def test_a_damaged_key_stops_the_grading_with_a_sentence(damage, tmp_path):
    assignment = tiny_assignment(tmp_path, ["f"])
    damage(assignment.key)
    with pytest.raises(AnswerKeyError) as refused:
        grade(make_notebook(functions({"f": "return 2 * x"}), tmp_path / "notebook.ipynb"), assignment)
    assert assignment.key.name in str(refused.value)
    assert len(str(refused.value)) < 500


def test_a_second_seed_needs_the_reference(tmp_path):
    assignment = replace(tiny_assignment(tmp_path, ["f"]), reference=None)
    notebook = make_notebook(functions({"f": "return 2 * x"}), tmp_path / "notebook.ipynb")
    assert grade(notebook, assignment)[0].points == 1.0
    with pytest.raises(AnswerKeyError, match="public seed only"):
        grade(notebook, assignment, seed=SECRET)


def test_a_grader_that_is_newer_than_its_key_is_refused_with_a_sentence(tmp_path):
    assignment = tiny_assignment(tmp_path, ["f"], grader=IMPORTS + GOOD)
    assignment.grader.write_text(IMPORTS + GOOD.replace("(3,)", "(3,), (4,)"))
    notebook = make_notebook(functions({"f": "return 2 * x"}), tmp_path / "notebook.ipynb")
    with pytest.raises(AnswerKeyError):
        grade(notebook, assignment, seed=SECRET)


def test_a_pair_for_consistency_never_changes_a_verdict(tmp_path):
    """It is made of rounding errors here, which differ between right answers."""
    grader = (
        IMPORTS
        + GOOD.replace("def p", "def q")
        + GOOD.replace(
            '    yield "y", impl.f(x)\n',
            '    y = impl.f(x)\n    yield "y", y\n    yield "pair", agree(1e12 * (y - 2 * x), 0.0)\n',
        )
    )
    assignment = tiny_assignment(tmp_path, ["f"], grader=grader)
    notebook = make_notebook(functions({"f": "return 2 * x * (1 + 1e-13)"}), tmp_path / "notebook.ipynb")
    assert grade(notebook, assignment)[0].points == 1.0


# Judges -------------------------------------------------------------------------------------------------------------

JUDGED = """
def close_enough(got, expected, *, factor):
    return None if np.allclose(got, factor * expected) else "it is not as large as it should be"

@probe("f", cases=[(3,)])
def p(impl, rng, size):
    x = rng.standard_normal(size)
    yield "y", observe(impl.f(x), judge=close_enough, given={"factor": 1.0})
"""


def judged(folder: Path, bodies: dict[str, str]) -> dict[str, Verdict]:
    names = list(bodies)
    grader = IMPORTS + JUDGED.split("@probe")[0]
    for name in names:
        grader += "\n@probe" + JUDGED.split("@probe")[1].replace("f(x)", f"{name}(x)").replace(
            '"f"', f'"{name}"'
        ).replace("def p", f"def p_{name}")
    assignment = tiny_assignment(folder, names, grader=grader)
    return {v.name: v for v in grade(make_notebook(functions(bodies), folder / "notebook.ipynb"), assignment)}


def test_a_judge_decides_on_the_trusted_side_and_its_failure_is_no_pass(tmp_path):
    """A judge gets whatever was returned: it may stumble over it, and must not be reachable from there."""
    bodies = {
        "right": "return 2 * x",
        "right_in_another_form": "return (2 * x).tolist()",
        "wrong": "return 3 * x",
        "makes_it_raise": "return {'a': 1}",
        "replaces_it": "import sys\n    for module in list(sys.modules.values()):\n"
        "        if hasattr(module, 'close_enough'): module.close_enough = lambda *a, **k: None\n    return x",
        "replaces_what_it_uses": "np.allclose = lambda *a, **k: True\n    return x",
        "brings_its_own": "from types import SimpleNamespace as S\n"
        "    return S(value=x, judge=lambda *a, **k: None, rtol=1e9, atol=1e9, consistency=False, given={})",
    }
    found = judged(tmp_path, bodies)
    assert {name: verdict.points for name, verdict in found.items()} == {
        name: float(name.startswith("right")) for name in bodies
    }
    assert "`y`: it is not as large as it should be" in found["wrong"].message
    assert "compared" in found["makes_it_raise"].message


def test_the_battery_holds_what_it_says(tmp_path):
    """The stub of `solved_before_its_stub` really comes last, and `only_public` really knows its inputs."""
    notebook, assignment = battery()
    cells = [cell["source"] for cell in json.loads(notebook.read_text())["cells"]]
    assert "raise NotImplementedError" in cells[-1]
    assert index_of(cells, "solved_before_its_stub") < len(cells) - 1
    public = {verdict.name: verdict.status for verdict in grade(notebook, assignment)}
    assert public["only_public"] == "passed"
