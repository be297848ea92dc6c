"""How an exercise can end, through the grader itself, on notebooks that learners and cheats may hand in."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import (
    explain,
    functions,
    index_of,
    make_notebook,
    public_inputs,
    replaced,
    solution_cells,
    stub_cells,
    tiny_assignment,
    with_first_line,
)

from autograder.engine.border import runner
from autograder.engine.border.rounds import Observations
from autograder.engine.inside.errors import UserError
from autograder.engine.inside.load import load
from autograder.engine.inside.notebook import Code, read_notebook
from autograder.engine.inside.observe import PUBLIC_SEED, load_grader, observe
from autograder.engine.inside.records import Limits, Raised, Record
from autograder.engine.judge.grade import grade, public_key, static_verdicts, verdicts
from autograder.engine.judge.mistakes import read_mistakes
from autograder.engine.judge.verdict import Verdict
from autograder.engine.probes import probes_of
from course.base.project import Project

FORWARD, BACKWARD, LAYER = "lstm_cell_forward", "lstm_cell_backward", "LSTM"
NUMPY = (FORWARD, BACKWARD)
FIRST = Project().assignment("03").exercises[0].name  # it needs no other
SHORT = Limits(seconds=2, memory_mb=1000)
SECRET = 987654


@pytest.fixture
def judged(tmp_path):
    """Grade code cells: the two NumPy exercises unless told otherwise."""

    def run(cells: Iterable[str], exercises: Iterable[str] | None = NUMPY, **how: Any) -> dict[str, Verdict]:
        notebook = make_notebook(cells, tmp_path / "notebook.ipynb")
        limits = replace(SHORT, seconds=8)  # 03's largest case takes a busy machine more than 2
        return explain(notebook, exercises=None if exercises is None else set(exercises), limits=limits, **how)

    return run


def statuses(found: dict[str, Verdict]) -> list[str]:
    return [verdict.status for verdict in found.values()]


def beside(name: str, lines: str, *, before: bool = False) -> list[str]:
    """The solution with `lines` at the top level of the cell of an exercise."""
    cells = solution_cells()
    at = index_of(cells, name)
    cells[at] = f"{lines}\n{cells[at]}" if before else f"{cells[at]}\n{lines}"
    return cells


def cell_number(name: str, cells: list[str]) -> int:
    """The number that an editor shows for the cell of an exercise, in a notebook of code cells."""
    return index_of(cells, name) + 1


# Passed, failed, not attempted, missing, blocked --------------------------------------------------------------------


@pytest.mark.parametrize(("number", "names"), [("00", None), ("03", (*NUMPY, LAYER))], ids=["00", "03"])
def test_the_worked_solution_passes_with_all_points_at_a_second_seed_too(number, names, tmp_path):
    assignment = Project().assignment(number)
    names = names or [assignment.exercises[0].name]
    found = explain(
        make_notebook(solution_cells(number), tmp_path / "solution.ipynb"), number, exercises=names, seed=SECRET
    )
    assert set(statuses(found)) == {"passed"}
    assert {name: verdict.points for name, verdict in found.items()} == {
        name: assignment.exercise(name).points for name in names
    }


def test_memory_that_one_exercise_keeps_is_not_missed_by_the_next(judged):
    """The gradient's largest case needs what the forward pass over a sequence has filled until nothing was left."""
    hoard = "\n    while True: globals().setdefault('kept', []).append(bytearray(10**6))"
    found = judged(with_first_line("lstm_forward", hoard), ("lstm_forward", BACKWARD))
    assert statuses(found) == ["memory", "passed"]


@pytest.mark.parametrize("number", ["00", "03"])
def test_the_stub_is_not_attempted_and_earns_nothing(number, tmp_path):
    found = explain(make_notebook(stub_cells(number), tmp_path / "stub.ipynb"), number)
    assert set(statuses(found)) == {"not_attempted"}
    assert sum(verdict.points for verdict in found.values()) == 0


def test_an_empty_notebook_lacks_everything(tmp_path):
    found = explain(make_notebook([], tmp_path / "empty.ipynb"))
    assert set(statuses(found)) == {"missing"}
    assert all(f"`{name}`" in verdict.message for name, verdict in found.items())


def test_a_wrong_answer_fails_with_call_worst_value_cause_and_place_to_reread(judged):
    found = judged(replaced(BACKWARD, {"da.sum(axis=0)": "da.mean(axis=0)"}))
    assert statuses(found) == ["passed", "failed"]
    verdict = found[BACKWARD]
    assert verdict.points == 0
    assert "`db` is wrong" in verdict.message
    assert re.search(rf"Called: {BACKWARD}\(dh: \(\d+, \d+\) float64, dc: ", verdict.message)
    assert re.search(r"Largest error at \[\d+\]: yours \S+, expected \S+", verdict.message)
    assert "Likely cause: db is averaged over the batch" in verdict.message
    assert "Right: `dx`, `dh_prev`, `dc_prev`, `dW`" in verdict.message
    assert f"Reread: {Project().assignment('03').exercise(BACKWARD).reread}" in verdict.message


def test_an_unknown_mistake_gets_the_diagnosis_instead(judged):
    verdict = judged(replaced(BACKWARD, {"da.sum(axis=0)": "3 * da.sum(axis=0)"}))[BACKWARD]
    assert "Likely cause: in `db`: every value is the right one times 3" in verdict.message


def test_another_exception_of_the_same_type_is_not_taken_for_a_known_mistake(judged):
    """A known mistake raises ValueError in every case, and so does the other answer here."""
    mistakes = {m.name: m for m in read_mistakes(Project().mistakes(Project().slug("03")))}
    known = mistakes["batch_and_time_swapped"]
    other = {"h, c = h0, c0": 'raise ValueError("all input arrays must have the same length")'}
    for change, hinted in ((dict(known.change), True), (other, False)):
        verdict = judged(replaced(known.exercise, change), None)[known.exercise]
        assert verdict.status == "error"
        assert "ValueError" in verdict.message
        assert (known.hint in verdict.message) == hinted


def test_no_message_shows_the_solution(judged):
    solution = solution_cells()[index_of(solution_cells(), FORWARD)]
    body = [line.strip() for line in solution.split('"""')[-1].split("\n") if "=" in line and "xh = " not in line]
    assert len(body) > 4
    message = judged(replaced(FORWARD, {"o * np.tanh(c)": "o * c"}))[FORWARD].message
    assert not [line for line in body if line in message]


def test_what_calls_a_wrong_exercise_is_blocked_and_earns_nothing(judged):
    found = judged(replaced(FORWARD, {"o * np.tanh(c)": "o * np.tanh(c) + 1"}))
    assert statuses(found) == ["failed", "blocked"]
    assert found[BACKWARD].points == 0
    assert f"`{FORWARD}`, which is not right yet (failed)" in found[BACKWARD].message


def test_a_backward_that_agrees_with_a_wrong_forward_is_told_so(judged):
    """With h = 2 o tanh(c) and its true gradient, the two are consistent, and the second still earns nothing."""
    doubled = replaced(
        BACKWARD,
        {"dh * o * (1 - tanh_c**2)": "2 * dh * o * (1 - tanh_c**2)", "dh * tanh_c * o": "2 * dh * tanh_c * o"},
        replaced(FORWARD, {"o * np.tanh(c)": "2 * o * np.tanh(c)"}),
    )
    verdict = judged(doubled)[BACKWARD]
    assert (verdict.status, verdict.points) == ("blocked", 0)
    assert "agrees with finite differences of your own" in verdict.message
    alone = judged(replaced(FORWARD, {"o * np.tanh(c)": "2 * o * np.tanh(c)"}))[BACKWARD]
    assert "agrees with finite differences" not in alone.message


@pytest.mark.parametrize("change", ["missing", "not_attempted", "error", "forbidden"])
def test_what_is_blocked_says_by_what(change, judged):
    cells, stubs = solution_cells(), stub_cells()
    at = index_of(cells, FORWARD)
    cells[at] = {
        "missing": "",
        "not_attempted": stubs[index_of(stubs, FORWARD)],
        "error": cells[at].replace("return h, c, cache", "return h, c, cache)"),
        "forbidden": cells[at].replace("xh = ", "import torch\n    xh = "),
    }[change]
    found = judged(cells)
    assert statuses(found) == [change, "blocked"]
    assert change.replace("_", " ") in found[BACKWARD].message


# Errors -------------------------------------------------------------------------------------------------------------


def test_an_error_shows_cell_line_and_source_of_the_learners_own_frame(judged):
    """np.linalg raises deep inside NumPy; what helps is the line that called it."""
    line = "np.linalg.inv(np.zeros((2, 2)))"
    cells = with_first_line(FORWARD, line)
    verdict = judged(cells)[FORWARD]
    at = cells[index_of(cells, FORWARD)].split("\n").index(f"    {line}") + 1
    assert verdict.status == "error"
    assert "LinAlgError: Singular matrix" in verdict.message
    assert f"cell {cell_number(FORWARD, cells)}, line {at}, in `{FORWARD}`: `{line}`" in verdict.message


def test_an_error_in_a_helper_shows_the_helper_and_who_called_it(judged):
    cells = with_first_line(FORWARD, "helper(x)")
    cells.insert(1, "def unrelated():\n    pass\n\ndef helper(x):\n    return x['no such key']")
    message = judged(cells)[FORWARD].message
    assert (
        f"in `{FORWARD}`: `helper(x)`; it was raised in cell 2, line 5, in `helper`: `return x['no such key']`"
        in message
    )


def test_a_cell_is_counted_with_the_text_between(tmp_path):
    """A released notebook has text cells too; an editor counts them."""
    path = tmp_path / "notebook.ipynb"
    released = Project().release(Project().slug("03")).read_text(encoding="utf-8")
    path.write_text(released.replace("raise NotImplementedError()", "raise ValueError('mine')"), encoding="utf-8")
    cells = read_notebook(path)
    number = next(cell.number for cell in cells if cell.type == "code" and f"def {FIRST}(" in cell.source)
    assert f"cell {number}, line " in explain(path, exercises=[FIRST])[FIRST].message
    assert number > index_of(stub_cells(), FIRST) + 1


ERRORS = {
    "own_text": ("raise ValueError('my own text')", ["raised ValueError: my own text"]),
    "absent": ("absent_name", ["NameError", "absent_name"]),
    "recursion": ("return recursion(x)", ["RecursionError"]),
    "subscript": ("x['V']", ["IndexError"]),
    "exits": ("import sys; sys.exit(0)", ["exit()"]),
    "system_exit": ("raise SystemExit", ["exit()"]),
    "asks": ("name = input('Your name? ')", ["input()"]),
    "stub_line_left": ("y = 2 * x\n    raise NotImplementedError()", ["NotImplementedError", "delete that line"]),
    "generator_exit": ("raise GeneratorExit", ["GeneratorExit"]),
    "text_that_raises": ("raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()", ["Odd"]),
    "end_of_an_iterator": ("next(iter([]))", ["StopIteration"]),
    "torch_by_name": ("__import__('to' + 'rch').zeros(1)", ["torch can't be imported"]),
    "torch_by_importlib": (
        "import importlib; importlib.import_module('to' + 'rch')",
        ["ImportError: torch", "can't be imported in a NumPy"],
    ),
    "torch_by_exec": ("exec('import to' + 'rch')", ["torch can't be imported"]),
    "torch_by_modules": ("import sys; sys.modules['to' + 'rch'].zeros(1)", ["KeyError"]),
}

HARD = {
    "os_exit": ("import os; os._exit(0)", "crashed", "ended the Python process"),
    "os_exit_with_a_code": ("import os; os._exit(3)", "crashed", "exit code 3"),
    "aborts": ("import os; os.abort()", "crashed", "SIGABRT"),
    "segmentation_fault": ("import ctypes; ctypes.string_at(0)", "crashed", "SIGSEGV"),
    "killed": ("import os; os.kill(os.getpid(), 9)", "crashed", "SIGKILL"),
    "endless_loop": ("\n    while True: pass", "timeout", "longer than 2 seconds"),
    "huge_array": ("np.zeros(10**12)", "memory", "out of memory"),
    "growing_list": ("grown = []\n    while True: grown.append(bytearray(4 * 10**7))", "memory", "out of memory"),
}

# At the top level of the cell, after the definition: what follows it there, and how the exercise ends
TOP_LEVEL = {
    "top_exit": ("import sys; sys.exit(1)", "passed"),
    "top_raise": ("raise RuntimeError", "passed"),
    "top_os_exit": ("import os; os._exit(0)", "passed"),
    "top_endless_loop": ("while True: pass", "passed"),
    "top_needed": ("import os\ntop_needed = os._exit(0)", "error"),
    "top_huge_array": ("a = np.zeros(10**12)", "passed"),
}

ONE_THREAD = (
    "import threading\n    if threading.active_count() < 2: threading.Thread(target=threading.Event().wait{}).start()"
)
NOISE = {
    "printing": "print('a line of output')",
    "printing_errors": "import sys; print('x' * 10**6, file=sys.stderr)",
    "warnings": "import warnings; warnings.warn('careful'); np.log(0.0); 1 / np.zeros(1)",
    "warnings_forced": "import warnings; warnings.simplefilter('always'); warnings.warn('careful')",
    "logging": "import logging; logging.error('something')",
    "raw_output": "import sys; sys.stdout.buffer.write(b'bytes'); sys.stderr.fileno()",
    "closed_output": "import sys; sys.stdout.close(); sys.stderr.close()",
    "seeds": "np.random.seed(0); np.random.standard_normal(10)",
    "another_folder": "import os; os.chdir('/')",
    "thread": ONE_THREAD.format(", daemon=True"),
    "thread_that_stays": ONE_THREAD.format(""),
    "exit_handler": "import atexit, os; atexit.register(os._exit, 1)",
    "exception_hooks": "import sys; sys.excepthook = sys.displayhook = None",
}


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> tuple[list[str], dict[str, Verdict]]:
    """One notebook with every ending above, and a right answer after each: its cells and its verdicts.

    That every right answer passes is part of the test: an ending must not spoil what comes after it.
    """
    folder = tmp_path_factory.mktemp("endings")
    bodies = {name: line for name, (line, *_) in {**ERRORS, **HARD}.items()}
    bodies |= {name: f"{line}\n    return 2 * x" for name, line in NOISE.items()}
    bodies |= {name: f"return 2 * x\n{line}" for name, (line, _) in TOP_LEVEL.items()}
    mixed = {}
    for name, body in bodies.items():
        mixed |= {name: body, f"after_{name}": "return x + x"}
    assignment = tiny_assignment(folder, mixed)
    cells = functions(mixed)
    found = grade(make_notebook(cells, folder / "notebook.ipynb"), assignment, limits=SHORT)
    return cells, {verdict.name: verdict for verdict in found}


def place(cells: list[str], name: str, text: str) -> tuple[int, int]:
    """Cell and line, from 1, of the last line that holds `text` in the cell of an exercise."""
    at = index_of(cells, name)
    lines = cells[at].split("\n")
    return at + 1, max(number for number, line in enumerate(lines, 1) if text in line)


@pytest.mark.parametrize("name", ERRORS)
def test_an_exception_is_an_error_that_says_what_and_where(name, together):
    (lines, words), (cells, found) = ERRORS[name], together
    verdict = found[name]
    assert (verdict.status, verdict.points) == ("error", 0)
    assert all(word in verdict.message for word in words), verdict.message
    line = lines.split("\n")[-1].strip()
    cell, number = place(cells, name, line)
    assert f"cell {cell}, line {number}, in `{name}`: `{line}`" in verdict.message
    assert "Traceback" not in verdict.message


@pytest.mark.parametrize("name", HARD)
def test_what_takes_the_process_down_or_would_ends_its_exercise(name, together):
    _, status, words = HARD[name]
    verdict = together[1][name]
    assert (verdict.status, verdict.points) == (status, 0)
    assert words in verdict.message


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_what_happens_at_the_top_level_of_a_cell_spoils_at_most_that_cell(name, together):
    (line, status), (cells, found) = TOP_LEVEL[name], together
    assert found[name].status == status
    if status == "error":
        cell, number = place(cells, name, line.split("\n")[-1])
        assert f"ell {cell}, line {number}:" in found[name].message


@pytest.mark.parametrize("name", NOISE)
def test_output_warnings_and_other_noise_change_no_verdict(name, together):
    assert (together[1][name].status, together[1][name].points) == ("passed", 1.0)


def test_a_flood_of_output_changes_no_verdict(tmp_path):
    """With the usual limits: on a slow machine 300,000 lines take longer than the short ones allow."""
    cells = with_first_line(FORWARD, "for _ in range(300_000): print('a line of output')")
    found = explain(make_notebook(cells, tmp_path / "notebook.ipynb"), exercises=[FORWARD])
    assert statuses(found) == ["passed"]


@pytest.mark.parametrize("name", [*ERRORS, *HARD, *TOP_LEVEL, *NOISE])
def test_an_ending_leaves_the_next_exercise_alone(name, together):
    assert together[1][f"after_{name}"].status == "passed"


@pytest.mark.parametrize("kind", ["ValueError", "MemoryError"])
def test_an_exception_without_text_leaves_no_empty_label(kind, judged):
    message = judged(with_first_line(FORWARD, f"raise {kind}"))[FORWARD].message
    assert not [line for line in message.split("\n") if line.rstrip().endswith(":")]


def test_a_long_text_of_an_exception_is_cut(judged):
    assert len(judged(with_first_line(FORWARD, "raise ValueError('x' * 10**6)"))[FORWARD].message) < 3000


def test_a_message_can_be_written_to_any_file_and_terminal(judged):
    """Half a surrogate pair breaks every encoder; an escape sequence can rewrite a terminal."""
    message = judged(with_first_line(FORWARD, "raise ValueError(chr(0xD800) + chr(27) + '[2J' + chr(0))"))[
        FORWARD
    ].message
    message.encode("utf-8")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", message)


# What was returned --------------------------------------------------------------------------------------------------

RETURNED = {
    "nothing": ("None", ["It should return 2 values (double, total)", "None"]),
    "one_of_two": ("(x,)", ["It should return 2 values (double, total)", "returned 1"]),
    "three_of_two": ("x, x, x", ["It should return 2 values", "returned 3"]),
    "number": ("5.0", ["It should return 2 values", "a float"]),
    "mapping": ("{'double': x}", ["It should return 2 values", "a dict"]),
    "text": ("'ab'", ["It should return 2 values", "a str"]),
    "array": ("x", ["It should return 2 values", "a ndarray"]),
    "none_inside": ("None, x", ["`double` has the wrong type", "None", "return"]),
    "lists": ("[x.tolist()], x", ["`double` has the wrong type", "a list"]),
    "too_short": ("2 * x[1:], x", ["`double` has the wrong shape", "(2,)", "(3,)"]),
    "column": ("2 * x[:, None], x", ["`double` has the wrong shape", "(3, 1)"]),
    "integers": ("np.int64(2 * x), x", ["`double` has the wrong dtype", "int64"]),
    "not_finite": ("np.log(-x**2), x", ["`double` has NaN or inf values", "NaN"]),
    "objects": ("np.array([None]), x", ["`double` can't be compared", "object"]),
    "too_large": ("np.zeros((8, 10**6)), x", ["`double` can't be compared", "61 MB"]),
    "circle": ("(lambda a: (a.append(a), a))([])", ["`total` can't be compared", "deep"]),
    "generator": ("(value for value in (2 * x, x))", ["It should return 2 values", "a generator"]),
}
BOTH = "from autograder.engine.probes import named, probe\n" + "\n".join(
    f"""
@probe("{name}", cases=[(3,), (5,)])
def probe_{name}(impl, rng, size):
    x = rng.standard_normal(size)
    yield from named("double total", impl.{name}(x))
"""
    for name in RETURNED
)


@pytest.fixture(scope="module")
def returned(tmp_path_factory) -> dict[str, Verdict]:
    """One notebook with a function for each wrong return value."""
    folder = tmp_path_factory.mktemp("returned")
    assignment = tiny_assignment(folder, RETURNED, solution="return 2 * x, x.sum()", grader=BOTH)
    cells = functions({name: f"return {value}" for name, (value, _) in RETURNED.items()})
    return {v.name: v for v in grade(make_notebook(cells, folder / "notebook.ipynb"), assignment)}


@pytest.mark.parametrize("name", RETURNED)
def test_a_wrong_return_value_is_described_as_such(name, returned):
    verdict = returned[name]
    assert (verdict.status, verdict.points) == ("failed", 0)
    assert all(word in verdict.message for word in RETURNED[name][1])


@pytest.mark.parametrize("line", ["return None", "return h_prev, c_prev", "return 5.0"])
def test_what_cannot_be_unpacked_is_described_as_a_wrong_return_value(line, judged):
    """The probe itself stumbles here: `h, c, _ = …`. That must not look like an error in the learner's code."""
    verdict = judged(with_first_line(FORWARD, line), [FORWARD])[FORWARD]
    assert verdict.status == "failed"
    assert f"What `{FORWARD}` returned can't be used" in verdict.message
    assert "unpack" in verdict.message


@pytest.mark.parametrize("old", ["x: np.ndarray, ", "def "], ids=["a_parameter_less", "a_class"])
def test_a_changed_signature_is_not_described_as_a_wrong_return_value(old, judged):
    new = {"x: np.ndarray, ": "", "def ": f"class {FORWARD}: pass\ndef my_"}[old]
    verdict = judged(replaced(FORWARD, {old: new}), [FORWARD])[FORWARD]
    assert verdict.points == 0
    assert "argument" in verdict.message
    assert "returned" not in verdict.message


def test_float32_where_float64_is_asked_for_is_named(judged):
    verdict = judged(replaced(FORWARD, {"return h, c, cache": "return np.float32(h), c, cache"}))[FORWARD]
    assert verdict.status == "failed"
    assert "`h` has the wrong dtype" in verdict.message
    assert "float32" in verdict.message


def test_an_argument_changed_in_place_is_named(judged):
    for line, argument in (("x *= 2.0", "x"), ("params['W'] += 1.0", "params")):
        found = judged(replaced(FORWARD, {"return h, c, cache": f"{line}\n    return h, c, cache"}))
        assert found[FORWARD].status == "failed"
        assert f"changes its argument `{argument}` in place" in found[FORWARD].message


def test_what_torch_raises_while_the_probe_uses_a_result_is_not_blamed_on_a_call(judged):
    """A detached output raises in the probe's backward(), not in the learner's code."""
    cells = replaced(LAYER, {"outputs, dim=1), (h, c)": "outputs, dim=1).detach(), (h.detach(), c.detach())"})
    verdict = judged(cells, [LAYER])[LAYER]
    assert verdict.status == "failed"
    assert "returned" in verdict.message


# Right code, in whatever style ----------------------------------------------------------------------------------------

STYLES = {
    "threads": "from concurrent.futures import ThreadPoolExecutor; list(ThreadPoolExecutor(2).map(abs, [1, 2]))",
    "copies": "import copy; params = copy.deepcopy(params)",
    "globals": "globals()['np'].zeros(1)",
    "closure": "twice = (lambda k: lambda v: k * v)(2); twice(1)",
    "generator": "sum(value for value in range(3))",
    "local_class": "from dataclasses import make_dataclass; make_dataclass('State', ['h'])(1)",
    "recursion": "depth = lambda k: 0 if k == 0 else 1 + depth(k - 1); depth(200)",
    "own_randomness": "np.random.default_rng(0).standard_normal(3)",
}


def test_a_right_answer_passes_in_any_style(judged):
    cells = solution_cells()
    for line in STYLES.values():
        cells = with_first_line(FORWARD, line, cells)
    assert statuses(judged(cells)) == ["passed", "passed"]


@pytest.mark.parametrize(
    "line", ["import pickle; pickle.loads(pickle.dumps(Box()))", "import typing; typing.get_type_hints(Box)"]
)
def test_classes_of_the_notebook_can_be_looked_up_during_a_call(line, judged):
    cells = with_first_line(FORWARD, line)
    cells.insert(1, "class Box:\n    inner: 'Box | None' = None")
    assert statuses(judged(cells, [FORWARD])) == ["passed"]


# Endings that take the process down ---------------------------------------------------------------------------------


def test_what_calls_an_exercise_that_took_the_process_down_is_blocked(judged):
    found = judged(with_first_line(FORWARD, "import os; os._exit(0)"))
    assert statuses(found) == ["crashed", "blocked"]
    assert "(crashed)" in found[BACKWARD].message


def test_an_ending_in_one_track_leaves_the_other_alone(judged):
    cells = with_first_line(FORWARD, "import os; os._exit(0)")
    assert statuses(judged(cells, [*NUMPY, LAYER])) == ["crashed", "blocked", "passed"]
    cells = with_first_line(LAYER, "import os; os._exit(0)", method="forward")
    assert statuses(judged(cells, [*NUMPY, LAYER])) == ["passed", "passed", "crashed"]


@pytest.mark.parametrize(
    "limits", [Limits(seconds=1), Limits(seconds=60, total_seconds=1)], ids=["each_case", "all_together"]
)
def test_an_endless_loop_is_stopped_when_its_time_is_up(limits, tmp_path):
    notebook = make_notebook(with_first_line(FORWARD, "while True: pass"), tmp_path / "slow.ipynb")
    started = time.monotonic()
    found = explain(notebook, exercises=NUMPY, limits=limits)
    assert time.monotonic() - started < 20
    assert statuses(found) == ["timeout", "blocked"]


def test_a_machine_on_which_python_does_not_start_in_time_is_not_blamed_on_the_notebook(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "STARTING", 0.001)
    notebook = make_notebook(solution_cells(), tmp_path / "quick.ipynb")
    with pytest.raises(UserError, match="nothing of the notebook has run yet"):
        explain(notebook, exercises=NUMPY, limits=Limits(seconds=0.001))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_processes_that_were_left_behind_are_gone(judged):
    line = 'import subprocess; raise ValueError(f\'pid={subprocess.Popen(["sleep", "600"]).pid};\')'
    found = re.search(r"pid=(\d+);", judged(with_first_line(BACKWARD, line))[BACKWARD].message)
    assert found is not None
    stat = Path(f"/proc/{found.group(1)}/stat")
    deadline = time.monotonic() + 5  # a signal takes its time on a busy machine

    def gone() -> bool:
        return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"  # at most not yet reaped

    while not gone() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert gone()


# Shortcuts ----------------------------------------------------------------------------------------------------------


def test_a_forbidden_library_function_is_named_with_its_place(judged):
    cells = with_first_line(LAYER, "self.inner = nn.LSTM(inputs, hidden)", method="__init__")
    verdict = judged(cells, [LAYER])[LAYER]
    assert (verdict.status, verdict.points) == ("forbidden", 0)
    assert "`torch.nn.LSTM` can't be used here" in verdict.message
    assert f"cell {cell_number(LAYER, cells)}" in verdict.message


HIDDEN = {
    "hidden_from_getattr": "getattr(nn, 'LS' + 'TM')(1, 1)",
    "hidden_in_vars": "vars(nn)['GR' + 'U'](1, 1)",
    "hidden_import": "__import__('torch.nn', fromlist=['nn']).LSTM(1, 1)",
    "hidden_in_modules": "import sys; getattr(sys.modules['torch.nn'], 'LS' + 'TM')(1, 1)",
    "hidden_text": "exec('nn.LS' + 'TM(1, 1)')",
}
FETCHED = {
    "fetched_class": ("Fetched = getattr(nn, 'LS' + 'TM')", "Fetched(1, 1)"),
    "starred_class": ("from torch.nn import *", "GRU(1, 1)"),
    "fetched_function": ("bend = getattr(torch, 'ta' + 'nh')", "bend(torch.zeros(1))"),
}


@pytest.fixture(scope="module")
def hidden(tmp_path_factory) -> dict[str, Verdict]:
    """One notebook of torch exercises that forbid torch.nn.LSTM and others, each of which hides that it uses one."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("hidden")
    names = [*HIDDEN, *FETCHED, "honest"]
    assignment = tiny_assignment(
        folder, names, track="torch", forbids=["torch.nn.LSTM*", "torch.nn.GRU*", "torch.tanh"]
    )
    bodies = {name: f"{line}; return 2 * x" for name, line in HIDDEN.items()}
    bodies |= {name: f"{line}; return 2 * x" for name, (_, line) in FETCHED.items()}
    cells = functions({**bodies, "honest": "torch.sigmoid(torch.zeros(1)); return 2 * x"})
    cells[0] += "\nimport torch\nfrom torch import nn"
    for name, (line, _) in FETCHED.items():
        cells[index_of(cells, name)] = line + "\n" + cells[index_of(cells, name)]
    return {v.name: v for v in grade(make_notebook(cells, folder / "notebook.ipynb"), assignment)}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_forbidden_function_whose_name_is_hidden_raises_when_it_is_called(name, hidden):
    assert (hidden[name].status, hidden[name].points) == ("forbidden", 0)
    assert "this exercise is to be solved without it" in hidden[name].message


@pytest.mark.parametrize("name", FETCHED)
def test_a_forbidden_function_that_was_fetched_beforehand_is_ruled_out_too(name, hidden):
    assert (hidden[name].status, hidden[name].points) == ("forbidden", 0)


def test_what_is_not_forbidden_stays_allowed(hidden):
    assert hidden["honest"].status == "passed"


@pytest.mark.parametrize(
    "line",
    ["import torch", "import torch.nn.functional as F", "from torch import tensor", "torch.zeros(1)", "nn.Module()"],
)
def test_torch_in_a_numpy_exercise_is_forbidden(line, judged):
    verdict = judged(with_first_line(FORWARD, line), [FORWARD])[FORWARD]
    assert (verdict.status, verdict.points) == ("forbidden", 0)
    assert "NumPy" in verdict.message


def test_torch_cannot_be_let_in_again(tmp_path):
    line = "import sys; sys.meta_path[:] = [f for f in sys.meta_path if isinstance(f, type)]; __import__('to' + 'rch')"
    notebook = make_notebook(with_first_line(FORWARD, line), tmp_path / "notebook.ipynb")
    assert explain(notebook, exercises=[FORWARD])[FORWARD].status in ("error", "forbidden")


def test_a_numpy_exercise_may_stand_in_a_notebook_that_imports_torch(judged):
    assert any("import torch" in cell for cell in solution_cells())
    assert statuses(judged(solution_cells())) == ["passed", "passed"]


def test_the_graders_own_modules_are_forbidden(judged):
    verdict = judged(with_first_line(FORWARD, "from autograder.engine.judge.keys import read_key"))[FORWARD]
    assert verdict.status == "forbidden"


# Cheating -----------------------------------------------------------------------------------------------------------

WRONG = {"o * np.tanh(c)": "o * c"}

PATCHES = {
    "allclose": "np.allclose = np.array_equal = np.isclose = lambda *a, **k: True",
    "testing": "import numpy.testing as t\nfor name in dir(t): setattr(t, name, lambda *a, **k: None)",
    "arithmetic": "np.abs = np.max = np.isfinite = np.isnan = lambda *a, **k: np.zeros(1)",
    "builtins": "import builtins\nbuiltins.all = lambda x: True\nbuiltins.abs = builtins.max = lambda *a: 0",
    "math": "import math\nmath.isclose = lambda *a, **k: True",
    "assertions": "import builtins\nbuiltins.AssertionError = type('Never', (Exception,), {})",
    "trace": "import sys\nsys.settrace(lambda *a: None)\nsys.excepthook = lambda *a: None",
}


def test_functions_that_compare_can_be_replaced_without_effect(judged):
    for name, lines in PATCHES.items():
        cells = replaced(FORWARD, WRONG)
        cells[0] += "\n"
        at = index_of(cells, FORWARD)
        cells[at] = f"{lines}\n{cells[at]}"
        found = judged(cells)
        assert all(verdict.points == 0 for verdict in found.values()), name


ALWAYS_EQUAL = """
class Yes:
    shape, dtype, ndim, size = (1, 1), np.dtype("float64"), 2, 1
    __eq__ = __le__ = __lt__ = __ge__ = __bool__ = lambda self, *other: True
    __ne__ = __gt__ = lambda self, *other: False
    __sub__ = __rsub__ = __abs__ = lambda self, *other: 0.0
    __hash__ = object.__hash__
    all = any = lambda self: True

class YesArray(np.ndarray):
    __eq__ = __le__ = lambda self, other: np.True_
    __ne__ = lambda self, other: np.False_
    __sub__ = __rsub__ = lambda self, other: np.zeros(self.shape)

class YesFloat(float):
    __eq__ = lambda self, other: True
    __hash__ = float.__hash__

class YesList(list):
    __eq__ = lambda self, other: True
"""


def test_an_object_that_equals_everything_equals_nothing(tmp_path):
    values = {"yes": "Yes()", "array": "x.view(YesArray)", "number": "YesFloat(1)", "sequence": "YesList([1])"}
    values["masked"] = "np.ma.masked_all(x.shape)"
    assignment = tiny_assignment(tmp_path, values)
    cells = functions({name: f"return {value}" for name, value in values.items()})
    cells.insert(1, ALWAYS_EQUAL)
    for verdict in grade(make_notebook(cells, tmp_path / "notebook.ipynb"), assignment):
        assert (verdict.status, verdict.points) == ("failed", 0), verdict.name
        assert "`y`" in verdict.message


SPY = """
import gc, os, sys

def spy():
    trusted = ("grade", "keys", "compare", "diagnose", "mistakes", "report")
    modules = [name for name in sys.modules if name.startswith(("autograder.", "course."))]
    lessons = ("course.data", "course.gradcheck", "course.plots")
    found = {f"module {name}" for name in modules if name.rpartition(".")[2] in trusted}
    found |= {f"module {name}" for name in modules if name.startswith("course.") and not name.startswith(lessons)}
    kinds = {type(thing).__name__ for thing in gc.get_objects()}
    found |= {f"object {kind}" for kind in kinds & {"Key", "Expected", "ExpectedCase", "KnownMistake", "Verdict"}}
    texts = [*os.environ.values(), *sys.argv]
    frame = sys._getframe()
    while frame:
        values = [*frame.f_locals.values(), *frame.f_globals.values()]
        texts += [str(value) for value in values if type(value) in (str, dict)]
        frame = frame.f_back
    paths = ("solutions" + os.sep, ".np" + "z", "mistakes" + os.sep)
    found |= {f"text {path}" for path in paths for text in texts if path in text}
    return sorted(found)
"""


def test_the_callers_frames_hold_no_reference_and_no_key(judged):
    """Whatever the code under test can reach in its process: no module, object or path that leads to an answer."""
    cells = with_first_line(FORWARD, "raise ValueError(f'found {spy()} and nothing more')")
    cells.insert(1, SPY)
    for seed in (PUBLIC_SEED, SECRET):
        assert "found [] and nothing more" in judged(cells, seed=seed)[FORWARD].message


def test_the_spy_would_see_a_key(judged):
    """The test above can fail."""
    cells = with_first_line(FORWARD, "raise ValueError(f'found {spy()} and nothing more')")
    cells.insert(1, SPY + "\n__import__('autograder.engine.judge.keys')")
    cells[index_of(cells, FORWARD)] = "__import__('autograder.engine.judge.keys')\n" + cells[index_of(cells, FORWARD)]
    assert "module autograder.engine.judge.keys" in judged(cells)[FORWARD].message


def test_no_message_can_carry_the_secret_seed_out(judged):
    """With it, a learner could compute the hidden inputs before the next submission."""
    cells = with_first_line(FORWARD, "raise ValueError(f'seeds {look()}')")
    cells.insert(
        1,
        "import sys\ndef look():\n    frame, seen = sys._getframe(), []\n    while frame:\n"
        "        seen += [str(value) for value in frame.f_locals.values()]\n        frame = frame.f_back\n"
        f"    return [text[max(0, text.find('{str(SECRET)[:3]}' + '{str(SECRET)[3:]}')):][:6] for text in seen"
        f" if '{str(SECRET)[:3]}' + '{str(SECRET)[3:]}' in text]",
    )
    assert str(SECRET) not in judged(cells, seed=SECRET)[FORWARD].message


def known_inputs() -> str:
    """Code that sets `_known` to checksums of every x that the forward exercise gets at the public seed."""
    return f"import zlib\n_known = {sorted(public_inputs(Project().assignment('03'), FORWARD, 1))}"


@pytest.mark.parametrize(
    "otherwise",
    [
        "return 0 * right[0], right[1], right[2]",
        "raise ValueError(repr(x))",
        "return repr(x), x.sum(), right",
        "import os; os._exit(77)",
        "raise MemoryError",
        "while True: pass",
        "return right if x.sum() > 0 else None",
    ],
)
def test_a_table_of_public_answers_fails_at_another_seed_and_learns_nothing(otherwise, judged):
    """Stands in for a function that looks its answers up. Whatever it does there: status and words are the same."""
    table = (
        f"{known_inputs()}\n_true = {FORWARD}\n"
        f"def {FORWARD}(params, x, h_prev, c_prev):\n"
        "    right = _true(params, x, h_prev, c_prev)\n"
        "    if zlib.crc32(x.tobytes()) in _known:\n        return right\n"
        f"    {otherwise}"
    )
    cells = beside(FORWARD, table)
    assert statuses(judged(cells)) == ["passed", "passed"]
    found = judged(cells, seed=SECRET)
    assert statuses(found) == ["failed", "blocked"]
    assert (found[FORWARD].points, found[FORWARD].case, found[FORWARD].mistake) == (0, None, None)
    assert found[FORWARD].message == (
        f"`{FORWARD}` is right on the public inputs, but wrong on others of the same kind.\n"
        "Likely cause: a value that should be computed from the arguments is fixed in the code.\n"
        "Good to know: what takes much more time or memory there, or raises, counts as wrong, too."
    )


def test_being_right_at_the_second_seed_alone_is_not_enough(judged):
    """The public seed counts as well, and its explanation is the one that is shown."""
    lines = f"{known_inputs()}\n_true = {FORWARD}\n"
    lines += f"def {FORWARD}(params, x, h_prev, c_prev):\n    h, c, cache = _true(params, x, h_prev, c_prev)\n"
    lines += "    return (h + 1 if zlib.crc32(x.tobytes()) in _known else h), c, cache"
    verdict = judged(beside(FORWARD, lines), seed=SECRET)[FORWARD]
    assert (verdict.status, verdict.points) == ("failed", 0)
    assert "Largest error" in verdict.message


# What a hostile process may send ------------------------------------------------------------------------------------

HOSTILE_VALUES = {
    "none": None,
    "nan": {"float": "nan"},
    "a_huge_integer": {"int": "f" * 10_000},
    "an_unknown_tag": {"pickle": "gASVAAAA"},
    "a_huge_shape": {"array": "f8", "shape": [10**12], "data": ""},
    "objects": {"array": "O", "shape": [1], "data": "AAAAAAAAAAA="},
    "an_opaque_object": {"object": "numpy.ndarray"},
    "a_flood_of_text": "x" * 10**6,
    "half_a_complex_number": {"complex": ["1"]},
    "a_dtype_of_commas": {"array": "f8,,", "shape": [1], "data": ""},
}


def sent(value: Any, **rest: Any) -> dict[str, Verdict]:
    """The verdicts when a process sends `value` for everything that it was asked for, with the right inputs."""
    assignment = Project().assignment("03")
    seen = Observations()
    for (exercise, probe, case), expected in public_key(assignment).cases.items():
        right = Record(exercise, probe, case, PUBLIC_SEED, expected.inputs, dict.fromkeys(expected.values, value))
        seen.records[right.id, PUBLIC_SEED] = replace(right, **rest)
    names = [e.name for e in assignment.exercises]
    code = Code(read_notebook(assignment.reference)) if assignment.reference else Code([])
    static = static_verdicts(assignment, code, names)
    return {v.name: v for v in verdicts(assignment, static, code, seen, PUBLIC_SEED, {})}


@pytest.mark.parametrize("value", HOSTILE_VALUES.values(), ids=HOSTILE_VALUES)
def test_whatever_a_process_sends_gives_a_verdict_without_points(value):
    found = sent(value)
    assert all(verdict.points == 0 for verdict in found.values())
    assert found[FIRST].status == "failed"
    assert max(len(verdict.message) for verdict in found.values()) < 3000


@pytest.mark.parametrize(
    "rest",
    [
        {"raised": Raised("")},
        {"raised": Raised("Shortcut")},
        {"raised": Raised("WrongReturn", sentence="passed")},
        {"raised": Raised("ValueError", text="\0\n" * 100, line=-1, file="\u2028", source="`</div>`")},
        {"touched": ("", "a: b: c", "\ud800")},
        {"inputs": "0"},
        {"seen": {}},
        {"seen": {"h": 1, "5": 2, "more": []}},
    ],
    ids=lambda rest: "_".join(map(str, rest)),
)
def test_a_record_of_any_content_gives_a_verdict_without_points(rest):
    assert all(verdict.points == 0 for verdict in sent(None, **rest).values())


def sent_by_the_reference(change: Callable[[Record], Record]) -> dict[str, Verdict]:
    """The verdicts when a process sends what the reference yields, each record changed."""
    assignment = Project().assignment("03")
    seen = Observations()
    assert assignment.reference is not None
    cells = read_notebook(assignment.reference)
    loaded = load(cells, [e.name for e in assignment.exercises])
    names = [e.name for e in assignment.exercises]
    for one in observe(probes_of(load_grader(assignment.grader)), names, PUBLIC_SEED, loaded):
        seen.records[one.record.id, PUBLIC_SEED] = change(one.record)
    code = Code(cells)
    found = verdicts(assignment, static_verdicts(assignment, code, names), code, seen, PUBLIC_SEED, {})
    return {verdict.name: verdict for verdict in found}


def test_the_reference_itself_sends_what_passes():
    """The two tests above can fail: with the values of the reference the same records earn all points."""
    found = sent_by_the_reference(lambda record: record)
    assert all(verdict.points == verdict.max_points for verdict in found.values())


def test_a_lie_about_what_was_called_unblocks_nothing():
    """A process may hold a right backward pass beside a forward pass that it wants nobody to look at."""

    def lie(record: Record) -> Record:
        return replace(record, called=(), seen={} if record.exercise == FORWARD else record.seen)

    found = sent_by_the_reference(lie)
    assert (found[FORWARD].status, found[FORWARD].points) == ("failed", 0)
    assert (found[BACKWARD].status, found[BACKWARD].points) == ("blocked", 0)


def test_nothing_of_the_graded_process_stays_in_this_one(judged):
    before = (np.random.get_state()[1].copy(), os.getcwd(), np.allclose, dict(os.environ))
    judged(beside(FORWARD, "import os\nos.chdir('/')\nos.environ['A'] = 'b'\nnp.allclose = np.random.seed(1)"))
    assert (np.random.get_state()[1] == before[0]).all()
    assert (os.getcwd(), np.allclose, dict(os.environ)) == before[1:]
