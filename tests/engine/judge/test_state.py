"""What code keeps from one call to the next, or leaves switched, earns nothing: no probe has to think of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import make_notebook, tiny_assignment

from autograder.engine.assignment import Assignment
from autograder.engine.judge.grade import grade
from autograder.engine.judge.verdict import Status, Verdict

GRADER = """
import numpy as np
from autograder.engine.probes import named, observe, probe

@probe("square", cases=[(3,), (5,)])
def squares(impl, rng, size):
    x = rng.standard_normal(size)
    y, cache = impl.square(x)
    yield "y", y

@probe("square_backward", cases=[(3,), (5,)])
def gradients(impl, rng, size):
    x, dy = rng.standard_normal((2, size))
    _, cache = impl.square(x)
    yield "dx", impl.square_backward(dy, cache)
"""
SQUARE = "def square(x):\n    return x**2, x.copy()"
BACKWARD = "def square_backward(dy, cache):\n    return 2 * cache * dy"


@pytest.fixture(scope="module")
def assignment(tmp_path_factory) -> Assignment:
    """A forward pass with a cache, and its backward pass."""
    import json

    from autograder.engine.assignment import Assignment, read_exercises
    from autograder.engine.judge.keys import digest, record_key, write_key

    folder = tmp_path_factory.mktemp("state")
    plain = tiny_assignment(folder, ["square", "square_backward"], needs={"square_backward": ["square"]}, key=False)
    for path, cells in ((plain.reference, (SQUARE, BACKWARD)), (folder / "release.ipynb", None)):
        tree = json.loads(path.read_text(encoding="utf-8"))
        for cell in tree["cells"]:
            if cell["id"] in ("square", "square_backward"):
                source = (SQUARE, BACKWARD)[cell["id"] == "square_backward"]
                cell["source"] = source if cells else source.split("\n")[0] + "\n    raise NotImplementedError()"
        path.write_text(json.dumps(tree), encoding="utf-8")
    plain.grader.write_text(GRADER, encoding="utf-8")
    exercises = read_exercises(plain.slug, folder / "release.ipynb")
    made = Assignment(plain.slug, exercises, plain.grader, plain.key, plain.reference)
    write_key(record_key(made, folder / "no_mistakes.toml", {"grader": digest(made.grader)}), made.key)
    return made


def verdicts(assignment: Assignment, tmp_path: Path, square: str, backward: str) -> list[Verdict]:
    cells = ["import numpy as np", square, backward]
    return grade(make_notebook(cells, tmp_path / "mine.ipynb"), assignment)


KEPT = {
    "a_global_of_the_last_forward_pass": (
        "def square(x):\n    global last\n    last = x\n    return x**2, None",
        "def square_backward(dy, cache):\n    return 2 * last * dy",
    ),
    "an_attribute_of_the_function": (
        "def square(x):\n    square.last = x\n    return x**2, x",
        "def square_backward(dy, cache):\n    return 2 * square.last * dy",
    ),
    "a_list_that_grows": (
        "seen = []\ndef square(x):\n    seen.append(x)\n    return x**2, ()",
        "def square_backward(dy, cache):\n    return 2 * seen[-1] * dy",
    ),
}


@pytest.mark.parametrize(("square", "backward"), KEPT.values(), ids=KEPT)
def test_what_the_last_forward_pass_left_behind_is_no_cache(assignment, tmp_path, square, backward):
    forward, back = verdicts(assignment, tmp_path, square, backward)
    assert forward.status == Status.PASSED
    assert (back.status, back.points) == (Status.FAILED, 0)


MEMOS = {
    "by_shape": "memo = {}\ndef square(x):\n    y = memo.setdefault(x.shape, x**2)\n    return y, x",
    "by_sum": "memo = {}\ndef square(x):\n    y = memo.setdefault(round(x.sum(), 6), x**2)\n    return y, x",
    "of_the_first_call": "def square(x, memo=[]):\n    memo.append(x**2)\n    return memo[0], x",
}


@pytest.mark.parametrize("square", MEMOS.values(), ids=MEMOS)
def test_a_memo_with_the_wrong_key_is_wrong(assignment, tmp_path, square):
    forward, back = verdicts(assignment, tmp_path, square, BACKWARD)
    assert (forward.status, forward.points) == (Status.FAILED, 0)
    assert back.status == Status.BLOCKED


HONEST = {
    "a_right_memo": "memo = {}\ndef square(x):\n    return memo.setdefault(x.tobytes(), x**2).copy(), x.copy()",
    "a_counter": "calls = 0\ndef square(x):\n    global calls\n    calls += 1\n    return x**2, x.copy()",
    "random_numbers": "def square(x):\n    np.random.standard_normal(7)\n    return x**2, x.copy()",
    "what_raises_for_other_inputs": "def square(x):\n    assert np.isfinite(x).all()\n    return x**2, x.copy()",
}


@pytest.mark.parametrize("square", HONEST.values(), ids=HONEST)
def test_what_is_right_whatever_was_called_before_stays_right(assignment, tmp_path, square):
    assert {v.status for v in verdicts(assignment, tmp_path, square, BACKWARD)} == {Status.PASSED}


MODES = {
    "gradients_off": ("torch.set_grad_enabled(False)", "torch.is_grad_enabled()"),
    "another_default_dtype": ("torch.set_default_dtype(torch.float16)", "torch.get_default_dtype()"),
}


@pytest.mark.parametrize(("line", "mode"), MODES.values(), ids=MODES)
def test_a_mode_of_torch_that_is_not_put_back_is_named_and_troubles_nobody_else(tmp_path, line, mode):
    tiny = tiny_assignment(tmp_path / "tiny", ["f", "g"], track="torch")
    cells = ["import torch", f"def f(x):\n    {line}\n    return 2 * x", "def g(x):\n    return 2 * x"]
    first, second = grade(make_notebook(cells, tmp_path / "mine.ipynb"), tiny)
    assert first.status == Status.FAILED
    assert f"afterwards `{mode}` is not what it was" in first.message
    assert second.status == Status.PASSED
