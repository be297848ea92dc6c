"""Reading notebooks as editors, mail and learners leave them; and which of their statements run in grading."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import (
    explain,
    index_of,
    make_notebook,
    replaced,
    solution_cells,
    stub_cells,
    with_first_line,
)

from autograder.engine.inside import notebook
from autograder.engine.inside.load import Loaded, load
from autograder.engine.inside.notebook import Cell, Code, NotebookError, fingerprint, parse, read_notebook
from autograder.engine.inside.records import Defined, read_event, write_event
from autograder.engine.inside.shortcuts import shortcut
from autograder.engine.judge.verdict import Verdict
from course.base.project import Project

FORWARD, BACKWARD, LAYER = "lstm_cell_forward", "lstm_cell_backward", "LSTM"
NUMPY = (FORWARD, BACKWARD)


def code_cells(*sources: str) -> list[Cell]:
    return [Cell(number, "code", source) for number, source in enumerate(sources, 1)]


def grade_numpy(cells: list[str], folder: Path) -> dict[str, Verdict]:
    """The verdicts on the two NumPy exercises, which need no process with torch."""
    return explain(make_notebook(cells, folder / "notebook.ipynb"), exercises=NUMPY)


def statuses(verdicts: dict[str, Verdict]) -> list[str]:
    return [verdict.status for verdict in verdicts.values()]


# Files --------------------------------------------------------------------------------------------------------------


def tree_of(source: Any, **cell: Any) -> dict[str, Any]:
    """A notebook with one code cell."""
    return {"cells": [{"cell_type": "code", "source": source, **cell}], "nbformat": 4, "metadata": {}}


READABLE = {
    "text": json.dumps(tree_of("x = 1\ny = 2")).encode(),
    "list_of_lines": json.dumps(tree_of(["x = 1\n", "y = 2"])).encode(),
    "indented": json.dumps(tree_of("x = 1\ny = 2"), indent=4).encode(),
    "byte_order_mark": b"\xef\xbb\xbf" + json.dumps(tree_of("x = 1\ny = 2")).encode(),
    "windows_lines_in_the_file": json.dumps(tree_of("x = 1\ny = 2"), indent=1).replace("\n", "\r\n").encode(),
    "no_metadata": json.dumps({"cells": [{"cell_type": "code", "source": "x = 1\ny = 2"}]}).encode(),
    "strange_metadata": json.dumps(tree_of("x = 1\ny = 2", metadata=["a"])).encode(),
    "worksheets": json.dumps(
        {
            "worksheets": [
                {"cells": [{"cell_type": "code", "input": ["x = 1\n", "y = 2"], "language": "python", "outputs": []}]}
            ],
            "nbformat": 3,
        }
    ).encode(),
}


@pytest.mark.parametrize("raw", READABLE.values(), ids=READABLE)
def test_a_notebook_is_read_however_it_was_saved(raw, tmp_path):
    path = tmp_path / "saved.ipynb"
    path.write_bytes(raw)
    (cell,) = read_notebook(path)
    assert (cell.number, cell.type, cell.source) == (1, "code", "x = 1\ny = 2")
    assert cell.nbgrader == {}


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_what_windows_writes_is_read(encoding, tmp_path):
    path = tmp_path / "windows.ipynb"
    path.write_bytes(json.dumps(tree_of("title = 'résumé – “naïve”'"), ensure_ascii=False).encode(encoding))
    (cell,) = read_notebook(path)
    assert cell.source == "title = 'résumé – “naïve”'"


def test_windows_lines_in_the_code_are_read():
    (cell,) = code_cells("%matplotlib inline\r\ndef f(x):\r\n    return x\r\n")
    assert Code([cell]).definition("f") is not None


def test_cells_are_counted_as_an_editor_counts_them(tmp_path):
    """Text counts too, and so does what is no cell at all."""
    path = tmp_path / "mixed.ipynb"
    cells = [{"cell_type": "markdown", "source": "# Title"}, None, "junk", {"cell_type": "code", "source": "x = 1"}]
    path.write_text(json.dumps({"cells": cells}))
    assert [(cell.number, cell.type) for cell in read_notebook(path)] == [(1, "markdown"), (4, "code")]


@pytest.mark.parametrize("source", [None, 5, {"a": 1}, [1, 2], True])
def test_a_cell_without_text_is_an_empty_cell(source, tmp_path):
    path = tmp_path / "empty_cell.ipynb"
    path.write_text(json.dumps(tree_of(source)))
    assert [cell.source for cell in read_notebook(path)] == [""]


UNREADABLE = {
    "empty": (b"", "empty"),
    "white_space": (b" \n\t ", "empty"),
    "truncated": (json.dumps(tree_of("x = 1"))[:-20].encode(), "not valid JSON"),
    "a_web_page": (b"<!DOCTYPE html><html><body>Sign in</body></html>", "not valid JSON"),
    "a_picture": (bytes(range(256)) * 4, "not valid JSON"),
    "nested_beyond_all_measure": (b"[" * 100_000, "not valid JSON"),
    "a_number_beyond_all_measure": (b"9" * 10_000, "not valid JSON"),
    "json_number": (b"5", "no list of cells"),
    "json_list": (b"[]", "no list of cells"),
    "json_of_something_else": (b'{"name": "package", "version": "1.0"}', "no list of cells"),
    "cells_that_are_no_list": (b'{"cells": {"a": 1}}', "no list of cells"),
    "cells_that_are_nothing": (b'{"cells": null}', "no list of cells"),
    "worksheets_that_are_no_list": (b'{"worksheets": 5}', "no list of cells"),
}


@pytest.mark.parametrize(("raw", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_notebook_is_refused_in_a_sentence(raw, reason, tmp_path):
    path = tmp_path / "broken.ipynb"
    path.write_bytes(raw)
    with pytest.raises(NotebookError) as refused:
        read_notebook(path)
    text = str(refused.value)
    assert reason in text
    assert "broken.ipynb" in text
    assert "Jupyter" in text  # what to do about it
    assert len(text) < 500
    assert "\n" not in text


def test_a_worksheet_without_a_list_of_cells_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "broken.ipynb"
    path.write_text('{"worksheets": [{"cells": 5}]}')
    with pytest.raises(NotebookError):
        read_notebook(path)


def test_a_notebook_that_is_too_large_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = make_notebook(["x = 1"], tmp_path / "large.ipynb")
    assert read_notebook(path)
    monkeypatch.setattr(notebook, "MAX_NOTEBOOK_BYTES", path.stat().st_size - 1)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it was read"))
    with pytest.raises(NotebookError, match=r"larger than .* outputs"):
        read_notebook(path)


def test_a_file_that_is_missing_or_a_folder_is_refused_in_a_sentence(tmp_path):
    for path in (tmp_path / "missing.ipynb", tmp_path):
        with pytest.raises(NotebookError, match="does not exist, or is not a file"):
            read_notebook(path)


def test_grading_a_broken_file_raises_the_sentence_too(tmp_path):
    path = tmp_path / "broken.ipynb"
    path.write_bytes(b"<html>")
    with pytest.raises(NotebookError, match="not valid JSON"):
        explain(path)


# Magics and syntax errors -------------------------------------------------------------------------------------------

MAGICS = {
    "line_magic": "%matplotlib inline\ndef f(): return 1",
    "magic_inside_a_function": "def f():\n    %time x = 1\n    return 1",
    "shell": "!pip install numpy\ndef f(): return 1",
    "shell_with_continuation": "if True:\n    !ls\ndef f(): return 1",
    "shell_over_several_lines": "!pip install \\\n    numpy \\\n    torch\ndef f(): return 1",
    "value_over_several_lines": "files = !ls \\\n    -l\ndef f(): return 1",
    "help": "f?\nnp.zeros??\n?f\ndef f(): return 1",
    "timed_cell": "%%time\ndef f(): return 1",
    "captured_cell": "%%capture output\ndef f(): return 1",
    "comment_before_a_magic": "# numbers\n%precision 3\ndef f(): return 1",
    "modulo_at_the_start_of_a_line": "k = (7\n     % 3)\ndef f(): return 1",
    "percent_in_text": "text = '''\n%d of\n!'''\ndef f(): return 1",
    "magic_for_a_value": "files = !ls\nt = %timeit -o pass\ndef f(): return 1",
    "magic_beside_modulo": "%matplotlib inline\nk = (7\n     % 3)\ndef f(): return 1",
}


@pytest.mark.parametrize("source", MAGICS.values(), ids=MAGICS)
def test_magics_do_not_spoil_their_cell(source):
    loaded = load(code_cells(source), ["f"])
    assert loaded.spoiled == {}
    assert loaded.namespace["f"]() == 1


@pytest.mark.parametrize("magic", ["%%bash", "%%html", "%%writefile f.py", "%%javascript", "%%latex"])
def test_a_cell_of_another_language_is_no_python(magic):
    cells = code_cells(f"{magic}\ndef f(): return 1\nx = 1")
    assert parse(cells[0]) == []
    assert "f" not in load(cells, ["f"]).namespace


def test_magics_keep_line_numbers():
    (cell,) = code_cells("%matplotlib inline\n\n!ls\ndef f():\n    return 1")
    statement = Code([cell]).definition("f")
    assert statement is not None
    assert statement.place == (1, 4)


BROKEN = {
    "open_bracket": "def g(x):\n    return (x",
    "text_for_code": "the answer is 42",
    "tabs_and_spaces": "def g(x):\n\tif x:\n        return 1",
    "python_2": "def g(x):\n    print x",
    "a_merge": "<<<<<<< HEAD\ndef g(x):\n    return x\n=======",
    "zero_bytes": "def g(x):\n    return '\0'",
    "half_a_character": "def g(x):\n    return '\ud800'",
    "nested_beyond_all_measure": "def g(x):\n    return " + "(" * 1000 + ")" * 1000,
    "long_beyond_all_measure": "def g(x):\n    return " + "-" * 200_000 + "1",
}


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN)
def test_a_syntax_error_spoils_only_its_cell(source):
    cells = code_cells("a = 1", source, "def f(): return a")
    code = Code(cells)
    assert [broken.cell.number for broken in code.broken] == [2]
    loaded = load(cells, ["f", "g"])
    assert loaded.namespace["f"]() == 1
    assert "g" not in loaded.namespace
    assert set(loaded.spoiled) <= {"g"}


def test_a_syntax_error_is_shown_with_cell_line_and_source():
    cells = code_cells("a = 1", "b = 2\ndef g(x):\n    return (x")
    broken = Code(cells).breakage("g")
    assert broken is not None
    assert (broken.cell.number, broken.line) == (2, 3)
    assert "cell 2, line 3" in str(broken)
    assert "`return (x`" in str(broken)
    assert str(broken) == load(cells, ["g"]).spoiled["g"]


def test_a_syntax_error_in_a_line_of_any_length_can_cross_the_border():
    broken = Code(code_cells("def g(x):\n    return [" + "0, " * 30_000 + "(")).breakage("g")
    sent = write_event(Defined({"g": str(broken)}))
    assert read_event(sent.encode()) == Defined({"g": str(broken)})


def test_a_syntax_error_in_an_exercise_leaves_the_others_alone(tmp_path):
    cells = replaced(BACKWARD, {"tanh_c = np.tanh(c)": "tanh_c = np.tanh(c"})
    cells.insert(1, "this is no Python")
    found = grade_numpy(cells, tmp_path)
    assert statuses(found) == ["passed", "error"]
    assert f"cell {1 + index_of(solution_cells(), BACKWARD) + 1}" in found[BACKWARD].message
    assert "np.tanh(c" in found[BACKWARD].message


# Cells duplicated, reordered, deleted, stripped ---------------------------------------------------------------------


def test_a_stub_after_the_solved_copy_does_not_replace_it(tmp_path):
    stub = stub_cells()[index_of(stub_cells(), FORWARD)]
    solved = solution_cells()
    for cells in ([*solved, stub], [solved[0], stub, *solved[1:]], [stub, *solved, stub, stub]):
        assert statuses(grade_numpy(cells, tmp_path)) == ["passed", "passed"]


def test_of_two_solved_copies_the_last_counts(tmp_path):
    right, wrong = solution_cells(), replaced(FORWARD, {"o * np.tanh(c)": "o * c"})
    at = index_of(right, FORWARD)
    assert grade_numpy([*wrong, right[at]], tmp_path)[FORWARD].status == "passed"
    assert grade_numpy([*right, wrong[at]], tmp_path)[FORWARD].status == "failed"


def test_the_order_of_exercise_cells_does_not_matter(tmp_path):
    setup, *rest = solution_cells()
    assert statuses(grade_numpy([setup, *reversed(rest)], tmp_path)) == ["passed", "passed"]


def test_a_deleted_cell_is_missing_and_a_renamed_function_too(tmp_path):
    cells = solution_cells()
    del cells[index_of(cells, FORWARD)]
    assert statuses(grade_numpy(cells, tmp_path)) == ["missing", "blocked"]
    cells = replaced(FORWARD, {f"def {FORWARD}(": "def my_forward("})
    found = grade_numpy(cells, tmp_path)
    assert statuses(found) == ["missing", "blocked"]
    assert "renamed" in found[FORWARD].message


def test_names_find_the_exercises_without_any_metadata_or_in_one_single_cell(tmp_path):
    """make_notebook writes none; and a notebook made from a script is one long cell."""
    cells = solution_cells()
    upto = max(index_of(cells, name) for name in NUMPY) + 1
    assert statuses(grade_numpy(["\n\n".join(cells[:upto])], tmp_path)) == ["passed", "passed"]


def test_layout_comments_and_docstrings_do_not_hide_a_stub():
    stub = "def f(x):\n    '''What it does.'''\n    # YOUR CODE HERE\n    raise NotImplementedError()"
    other = 'def f( x ):\n\n    """Mine."""\n    raise NotImplementedError( )  # later'
    solved = "def f(x):\n    '''What it does.'''\n    return x"
    prints = [fingerprint(Code(code_cells(source)).statements[0].node) for source in (stub, other, solved)]
    assert prints[0] == prints[1] != prints[2]


def test_every_stub_is_recognised_as_such(tmp_path):
    found = explain(make_notebook(stub_cells(), tmp_path / "stub.ipynb"))
    assert set(statuses(found)) == {"not_attempted"}
    assert sum(v.points for v in found.values()) == 0


# Which statements run -----------------------------------------------------------------------------------------------

HELPERS = """
log = []
def slow():
    log.append("called")
    return 1
class Model:
    def __init__(self):
        log.append("built")
    def fit(self):
        log.append("fitted")
"""

RUN = {
    "import": ("import math as m", "m"),
    "from_import": ("from math import pi", "pi"),
    "import_that_may_fail": ("try:\n    import absent_library as lib\nexcept ImportError:\n    lib = None", "lib"),
    "function": ("def helper(x): return slow()", "helper"),
    "decorated_function": ("import functools\n@functools.cache\ndef helper(x): return slow()", "helper"),
    "class": ("class Helper:\n    size = 3", "Helper"),
    "number": ("rate = 0.1", "rate"),
    "annotated_number": ("rate: float = 0.1", "rate"),
    "arithmetic": ("rate = 2 ** -3 * (1 + 4j)", "rate"),
    "several_names": ("a, (b, *c) = 1, (2, 3, 4)", "c"),
    "table": ("names = {'i': 0, 'f': [1, 2], 'g': (3,)}", "names"),
    "comprehension": ("squares = [k * k for k in range(5)]", "squares"),
    "array": ("import numpy as np\nW = np.zeros((2, 3))", "W"),
    "generator": ("import numpy as np\nrng = np.random.default_rng(0)", "rng"),
    "named_tuple": ("from collections import namedtuple\nPair = namedtuple('Pair', 'a b')", "Pair"),
    "words": ("words = 'a b c'.split()\nupper = ' '.join(words).upper()", "upper"),
    "numbered": ("index = {w: k for k, w in enumerate(sorted(set('hello')))}", "index"),
    "in_single_precision": ("import numpy as np\nW = np.eye(3).astype(np.float32).reshape(1, 9)", "W"),
    "choice": ("debug = False\nif debug:\n    size = 1\nelse:\n    size = 2", "size"),
    "lambda": ("import numpy as np\nrelu = lambda x: np.maximum(x, 0)", "relu"),
    "lambda_that_calls_a_function": ("twice = lambda x: 2 * slow()", "twice"),
}

SKIPPED = {
    "call": ("value = slow()", "value"),
    "method": ("model = 1\nhistory = model.fit()", "history"),
    "object": ("model = Model()", "model"),
    "loop": ("for step in range(3):\n    loss = slow()", "loss"),
    "while": ("count = 0\nwhile count < 2:\n    last = slow(); count += 1", "last"),
    "context": ("with open('file') as f:\n    text = f.read()", "text"),
    "file": ("text = open('file').read()", "text"),
    "sum_so_far": ("total = 0\ntotal += slow()\nrest = total + slow()", "rest"),
    "method_of_a_call": ("words = slow().split()", "words"),
    "call_in_a_method": ("words = 'a {}'.format(slow())", "words"),
    "call_in_a_list": ("values = [1, slow()]", "values"),
    "call_in_a_comprehension": ("values = [slow() for _ in range(2)]", "values"),
    "call_in_arithmetic": ("value = 1 + 2 * slow()", "value"),
    "call_as_an_argument": ("import numpy as np\nvalue = np.sqrt(slow())", "value"),
    "call_in_a_condition": ("if slow():\n    value = 1", "value"),
    "call_in_a_branch": ("if True:\n    value = slow()", "value"),
    "call_in_a_try": ("try:\n    value = slow()\nexcept ValueError:\n    value = 0", "value"),
    "main": ("if __name__ == '__main__':\n    result = slow()", "result"),
    "subscript_of_a_call": ("value = [slow()][0]", "value"),
}

QUIET = {
    "bare_call": "slow()",
    "method_call": "Model().fit()",
    "plot": "import math\nplt = math\nplt.plot([1, 2])",
    "print": "print(slow())",
    "assertion": "assert slow()",
    "deletion": "log.append(1)\ndel log",
    "value_at_the_end": "slow() + 1",
    "check": "check('f')",
}


@pytest.mark.parametrize(("source", "name"), RUN.values(), ids=RUN)
def test_imports_definitions_and_constants_run(source, name):
    loaded = load(code_cells(HELPERS, source), [])
    assert name in loaded.namespace
    assert loaded.namespace["log"] == []
    assert loaded.skipped == loaded.spoiled == {}


@pytest.mark.parametrize(("source", "name"), SKIPPED.values(), ids=SKIPPED)
def test_training_and_calls_of_own_functions_do_not_run(source, name):
    loaded = load(code_cells(HELPERS, source), [])
    assert name not in loaded.namespace
    assert loaded.namespace["log"] == []
    assert loaded.skipped[name] == 2
    assert loaded.spoiled == {}


@pytest.mark.parametrize("source", QUIET.values(), ids=QUIET)
def test_what_only_has_an_effect_does_not_run(source):
    loaded = load(code_cells(HELPERS, source), [])
    assert loaded.namespace["log"] == []
    assert loaded.spoiled == {}


def test_everything_in_the_cell_of_an_exercise_runs():
    loaded = load(code_cells(HELPERS, "scale = slow()\ndef f(): return scale\nfor _ in range(2):\n    slow()"), ["f"])
    assert loaded.namespace["f"]() == 1
    assert loaded.namespace["log"] == ["called"] * 3
    assert "called" not in load(code_cells(HELPERS, "scale = slow()\ndef f(): return scale"), []).namespace["log"]


def test_a_statement_that_raises_spoils_only_what_it_defines():
    loaded = load(code_cells("a = 1", "b = 1 / 0\nc = 2\ndef f(): return c", "d = absent\nb2 = 3"), ["f"])
    assert loaded.namespace["f"]() == 2
    assert {"a", "c", "b2"} <= set(loaded.namespace)
    assert set(loaded.spoiled) == {"b", "d"}
    assert "cell 2, line 1 raised ZeroDivisionError" in loaded.spoiled["b"]


def test_what_raised_first_and_ran_later_is_not_spoiled():
    loaded = load(code_cells("a = absent", "a = 1"), [])
    assert loaded.namespace["a"] == 1
    assert loaded.spoiled == {}


def test_classes_of_the_notebook_can_be_dataclasses_and_typed():
    source = """
from dataclasses import dataclass, field
from typing import NamedTuple, get_type_hints
@dataclass
class Node:
    h: "list[float]" = field(default_factory=list)
    parent: "Node | None" = None
class Pair(NamedTuple):
    a: int
hints = get_type_hints(Node)
def f(): return Node().h, Pair(1).a, hints["parent"] == (Node | None)
"""
    assert load(code_cells(source), ["f"]).namespace["f"]() == ([], 1, True)


def test_a_future_import_holds_for_the_cells_below_as_in_a_kernel():
    loaded = load(
        code_cells("from __future__ import annotations", "def f(x: Absent) -> Absent | None: return x"), ["f"]
    )
    assert loaded.namespace["f"](1) == 1


def test_loading_leaves_the_main_module_alone():
    before = sys.modules["__main__"]
    load(code_cells("x = 1\nraise SystemExit"), ["x"])
    assert sys.modules["__main__"] is before


@pytest.mark.parametrize(
    "statement", ["{0} = float(sigmoid(np.zeros(1))[0]) * 2", "for {0} in range(2):\n    print({0})"]
)
def test_a_name_from_a_cell_that_is_not_run_is_explained(statement, tmp_path):
    cells = replaced(FORWARD, {"o * np.tanh(c)": "o * np.tanh(c) * scale"})
    cells.insert(1, statement.format("scale"))
    verdict = grade_numpy(cells, tmp_path)[FORWARD]
    assert verdict.status == "error"
    assert "`scale` is set by a cell that is not run in grading (cell " in verdict.message
    assert "move it into the function" in verdict.message
    assert "np.tanh(c) * scale" in verdict.message  # where it is used


def test_a_name_that_could_not_be_set_is_explained_with_the_reason(tmp_path):
    cells = replaced(FORWARD, {"sigmoid(a_i)": "squash(a_i)"})
    cells.insert(1, "squash = np.no_such_function")
    message = grade_numpy(cells, tmp_path)[FORWARD].message
    assert "`squash` is missing because cell " in message
    assert "no_such_function" in message


# Shortcuts ----------------------------------------------------------------------------------------------------------

SHORTCUTS = {
    "direct": ("import torch", "torch.nn.LSTM(1, 1)"),
    "alias": ("import torch as t", "t.nn.LSTM(1, 1)"),
    "alias_of_a_submodule": ("import torch.nn as layers", "layers.LSTM(1, 1)"),
    "from_import": ("from torch import nn", "nn.LSTM(1, 1)"),
    "from_import_of_the_thing": ("from torch.nn import LSTM as Ready", "Ready(1, 1)"),
    "import_inside": ("", "from torch.nn import LSTM as Ready; Ready(1, 1)"),
    "helper": ("import torch\ndef helper(): return torch.nn.LSTM(1, 1)", "helper()"),
    "helper_of_a_helper": (
        "import torch\ndef inner(): return torch.nn.LSTM(1, 1)\ndef helper(): return inner()",
        "helper()",
    ),
    "helper_class": ("from torch import nn\nclass Base(nn.LSTM): pass", "Base(1, 1)"),
    "other_name": ("import torch\nready = torch.nn.LSTM", "ready(1, 1)"),
    "in_a_table": ("import torch\ntable = {'a': torch.nn.LSTM}", "table['a'](1, 1)"),
    "default_argument": ("import torch", "(lambda make=torch.nn.LSTM: make(1, 1))()"),
    "longer_name": ("import torch", "torch.nn.LSTMCell(1, 1)"),
    "below_a_forbidden_module": ("import torch", "torch.nn.modules.rnn.LSTM(1, 1)"),
}


def found_shortcut(source: str, body: str, forbidden: list[str]) -> str | None:
    """The shortcut that is found in an exercise `f` whose last line is `body`."""
    code = Code(code_cells(source, f"def f(x):\n    {body}"))
    found = shortcut(code, "f", forbidden)
    return found[0] if found else None


@pytest.mark.parametrize(("source", "body"), SHORTCUTS.values(), ids=SHORTCUTS)
def test_a_forbidden_function_is_found_behind_any_name(source, body):
    found = found_shortcut(source, body, ["torch.nn.LSTM*", "torch.nn.modules.rnn"])
    assert found is not None
    assert found.startswith("torch.nn")


@pytest.mark.parametrize(
    ("source", "body"),
    [
        ("import torch", "torch.nn.Linear(1, 1)"),
        ("import torch\ndef other(): return torch.nn.LSTM(1, 1)", "return x"),
        ("", "'torch.nn.LSTM'"),
        ("class LSTM: pass", "LSTM()"),
        ("import torch as t\ntorch = 1", "return x"),
        ("import torch\nmodel = torch.nn.LSTM(1, 1)", "# torch.nn.LSTM\n    return x"),
    ],
    ids=["allowed", "in_another_function", "in_text", "own_class_of_that_name", "unused_alias", "in_a_comment"],
)
def test_what_is_allowed_is_not_found(source, body):
    assert found_shortcut(source, body, ["torch.nn.LSTM*"]) is None


@pytest.mark.parametrize(
    "door",
    ["torch._VF.lstm", "torch.ops.aten.lstm.input", "torch._C._VariableFunctions.lstm", "torch.nn.functional._VF.lstm"],
)
def test_a_private_door_to_a_forbidden_function_is_a_shortcut(door):
    assert found_shortcut("import torch", f"return {door}(x)", ["torch.lstm*"]) == door
    assert found_shortcut("import torch", f"return {door}(x)", ["torch.gru*"]) is None


def test_the_place_of_a_shortcut_is_that_of_the_helper():
    cells = code_cells("import torch", "a = 1\ndef helper(): return torch.nn.LSTM(1, 1)", "def f(x): return helper()")
    found = shortcut(Code(cells), "f", ["torch.nn.LSTM"])
    assert found is not None
    assert found[1].place == (2, 2)


@pytest.mark.parametrize("body", ["F = x.shape[0]; return F * 2", "return [F for F in x]", "return (lambda F: F)(x)"])
def test_a_local_variable_is_not_the_module_of_the_same_name(body):
    """F is what many call the number of filters, and torch.nn.functional."""
    assert found_shortcut("import torch.nn.functional as F", body, ["torch"]) is None


def test_two_libraries_may_be_imported_in_one_statement(tmp_path):
    setup, *rest = solution_cells()
    alone = [line for line in setup.split("\n") if line not in ("import numpy as np", "import torch")]
    cells = ["\n".join(["import numpy as np, torch", *alone]), *rest]
    assert statuses(grade_numpy(cells, tmp_path)) == ["passed", "passed"]


# Deep nesting -------------------------------------------------------------------------------------------------------

DEEP = {
    "sum": "z = " + " + ".join(["1"] * 900),
    "attributes": "z = x" + ".T" * 900,
    "minus_signs": "z = " + "-" * 900 + "1",
    "calls": "z = (lambda: 0)" + "()" * 900,
    "choices": "z = " + "1 if x is None else " * 900 + "2",
}


@pytest.mark.parametrize("line", DEEP.values(), ids=DEEP)
def test_deep_code_beside_the_exercises_does_no_harm(line):
    cells = code_cells(f"def other(x):\n    {line}", "def f(x): return x")
    code = Code(cells)
    assert code.definition("f") is not None
    assert shortcut(code, "f", ["torch"]) is None
    assert load(cells, ["f"]).namespace["f"](1) == 1


@pytest.mark.parametrize("line", DEEP.values(), ids=DEEP)
def test_deep_code_in_an_exercise_does_not_stop_the_grading(line, tmp_path):
    found = grade_numpy(with_first_line(BACKWARD, line.replace("x", "dh")), tmp_path)
    assert found[FORWARD].status == "passed"
    assert found[BACKWARD].status in ("passed", "error")  # Python itself may refuse to compile it


# The course's own notebooks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", Project().slugs())
def test_every_released_and_solved_notebook_loads_as_it_should(slug):
    """In grading a solution defines all its exercises, and nothing in it is broken."""
    pytest.importorskip("torch")
    assignment = Project().assignment(slug)
    names = [exercise.name for exercise in assignment.exercises]
    assert not Code(read_notebook(Project().release(slug))).broken
    assert assignment.reference is not None
    loaded: Loaded = load(read_notebook(assignment.reference), names)
    assert set(names) <= set(loaded.namespace)


def test_an_abandoned_attempt_is_no_shortcut():
    """What counts is the definition that stands in the end."""
    cells = ["import torch.nn as nn", "class Layer(nn.LSTM):\n    pass", "class Layer(nn.Module):\n    pass"]
    code = Code([Cell(number, "code", source) for number, source in enumerate(cells, 1)])
    assert shortcut(code, "Layer", ["torch.nn.LSTM"]) is None
    code = Code([Cell(number, "code", source) for number, source in enumerate(cells[:2], 1)])
    assert shortcut(code, "Layer", ["torch.nn.LSTM"]) is not None
