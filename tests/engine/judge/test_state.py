"""What code keeps from one call to the next, or leaves switched, earns nothing: no probe has to think of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import make_notebook, own_assignment, tiny_assignment

from autograder.engine.assignment import Assignment
from autograder.engine.inside import observe as inside
from autograder.engine.inside.load import Loaded
from autograder.engine.inside.observe import load_grader
from autograder.engine.judge.grade import grade
from autograder.engine.judge.verdict import Status, Verdict
from autograder.engine.probes import probes_of

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
    folder = tmp_path_factory.mktemp("state")
    solutions = {"square": SQUARE, "square_backward": BACKWARD}
    stubs = {name: source.split("return ")[0] for name, source in solutions.items()}
    return own_assignment(folder, solutions, stubs, GRADER, needs={"square_backward": ["square"]})


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


PARTIAL = {
    "without_the_upstream_gradient": "cache.tobytes()",
    "without_the_cache": "dy.tobytes()",
}


@pytest.mark.parametrize("by", PARTIAL.values(), ids=PARTIAL)
def test_a_memo_by_some_of_the_arguments_is_wrong(assignment, tmp_path, by):
    remembering = f"memo = {{}}\ndef square_backward(dy, cache):\n    return memo.setdefault({by}, 2 * cache * dy)"
    forward, back = verdicts(assignment, tmp_path, SQUARE, remembering)
    assert forward.status == Status.PASSED
    assert (back.status, back.points) == (Status.FAILED, 0)
    whole = remembering.replace(by, "(cache.tobytes(), dy.tobytes())")
    assert verdicts(assignment, tmp_path, SQUARE, whole)[1].status == Status.PASSED


STALE = {
    "by_identity": "memo.setdefault(id(x), x**2).copy()",
    "by_identity_and_shape": "memo.setdefault((id(x), x.shape), x**2).copy()",
    "as_long_as_it_is_the_same_array": "memo.update(x=x, y=x**2) or memo['y'] if memo.get('x') is not x else memo['y']",
}


@pytest.mark.parametrize("expression", STALE.values(), ids=STALE)
def test_a_memo_that_does_not_see_its_array_change_is_wrong(assignment, tmp_path, expression):
    forward, _ = verdicts(assignment, tmp_path, f"memo = {{}}\ndef square(x):\n    return {expression}, x", BACKWARD)
    assert (forward.status, forward.points) == (Status.FAILED, 0)
    assert "the same call returns something else when others were made before" in forward.message


BUFFERS = {
    "a_buffer_of_the_shape": (
        "kept = {}\ndef square(x):\n    y = kept.setdefault(x.shape, np.empty(x.shape))\n"
        "    np.square(x, out=y)\n    return y, x"
    ),
    "one_list_for_every_cache": ("kept = []\ndef square(x):\n    kept[:] = [x.copy()]\n    return x**2, kept"),
}


@pytest.mark.parametrize("square", BUFFERS.values(), ids=BUFFERS)
def test_a_result_that_the_next_call_changes_is_wrong(assignment, tmp_path, square):
    forward, _ = verdicts(assignment, tmp_path, square, BACKWARD)
    assert (forward.status, forward.points) == (Status.FAILED, 0)
    assert "the next call changes what an earlier one returned" in forward.message


def test_what_depends_on_an_earlier_call_is_told_so(assignment, tmp_path):
    told = "the same call returns something else when others were made before"
    forward, _ = verdicts(assignment, tmp_path, MEMOS["by_shape"], BACKWARD)
    assert told in forward.message
    for square, backward in KEPT.values():
        assert told in verdicts(assignment, tmp_path, square, backward)[1].message
    plain, back = verdicts(assignment, tmp_path, "def square(x):\n    return np.ones_like(x), x", BACKWARD)
    assert told not in plain.message
    _, back = verdicts(assignment, tmp_path, SQUARE, "def square_backward(dy, cache):\n    return cache * dy")
    assert told not in back.message


def test_equal_results_of_equal_arguments_depend_on_nothing(tmp_path):
    grader = (
        GRADER.split("@probe")[0]
        + """
@probe("f", cases=[2, 3])
def table(impl, rng, size):
    yield "y", impl.f(size)

@probe("f", cases=[2, 3])
def sums(impl, rng, size):
    yield "y", impl.f(rng.standard_normal((size, 4)))
"""
    )
    right = "def f(x):\n    x = np.arange(5.0) + x if np.ndim(x) == 0 else x\n    return np.sort(x, axis=None) * 3"
    ours = own_assignment(tmp_path, {"f": right}, {"f": "def f(x):\n    "}, grader)
    for wrong in ("* 4", "** 2", "+ 1"):
        [verdict] = grade(
            make_notebook(["import numpy as np", right.replace("* 3", wrong)], tmp_path / "f.ipynb"), ours
        )
        assert verdict.status == Status.FAILED
        assert "the same call returns something else when others were made before" not in verdict.message


HONEST = {
    "a_right_memo": "memo = {}\ndef square(x):\n    return memo.setdefault(x.tobytes(), x**2).copy(), x.copy()",
    "a_counter": "calls = 0\ndef square(x):\n    global calls\n    calls += 1\n    return x**2, x.copy()",
    "random_numbers": "def square(x):\n    np.random.standard_normal(7)\n    return x**2, x.copy()",
    "what_raises_for_other_inputs": "def square(x):\n    assert np.isfinite(x).all()\n    return x**2, x.copy()",
}


@pytest.mark.parametrize("square", HONEST.values(), ids=HONEST)
def test_what_is_right_whatever_was_called_before_stays_right(assignment, tmp_path, square):
    assert {v.status for v in verdicts(assignment, tmp_path, square, BACKWARD)} == {Status.PASSED}


MODULES = """
import numpy as np
import torch
from autograder.engine.probes import fill, named, probe

@probe("Layer", cases=[(3,), (5,)])
def outputs(impl, rng, size):
    x, seed = torch.tensor(rng.standard_normal((4, size))), int(rng.integers(2**32))
    layer = fill(impl.Layer(size).double(), seed)
    yield "y", layer(x)

@probe("apply_twice", cases=[(3,), (5,)])
def applied(impl, rng, size):
    x, seed = torch.tensor(rng.standard_normal((4, size))), int(rng.integers(2**32))
    layer = fill(impl.Layer(size).double(), seed).train()
    yield "y", impl.apply_twice(layer, x)
"""
LAYER = """class Layer(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.w = nn.Parameter(torch.ones(size))
        self.register_buffer("steps", torch.zeros(1))

    def forward(self, x):
        return self.w * x"""
APPLY = "def apply_twice(layer, x):\n    return layer(layer(x))"


@pytest.fixture(scope="module")
def modules(tmp_path_factory) -> Assignment:
    """A torch module, and a function that is given one."""
    folder = tmp_path_factory.mktemp("modules")
    bodies = {"Layer": LAYER.split("return ")[0], "apply_twice": APPLY.split("return ")[0]}
    return own_assignment(
        folder, {"Layer": LAYER, "apply_twice": APPLY}, bodies, MODULES, track="torch", needs={"apply_twice": ["Layer"]}
    )


def module_verdicts(modules: Assignment, tmp_path: Path, layer: str, applied: str = APPLY) -> list[Verdict]:
    cells = ["import torch\nfrom torch import nn", layer, applied]
    return grade(make_notebook(cells, tmp_path / "mine.ipynb"), modules)


FORWARD = "        return self.w * x"
WRONG_LAYERS = {
    "keeps_its_first_input": (
        "        self.kept = getattr(self, 'kept', x)\n        return self.w * self.kept",
        "is wrong",
    ),
    "keeps_it_on_the_class": (
        "        Layer.kept = getattr(Layer, 'kept', x)\n        return self.w * Layer.kept",
        "is wrong",
    ),
    "changes_its_argument": ("        x *= self.w\n        return x.clone()", "`x`"),
    "changes_its_parameter": (
        "        y = self.w * x\n        self.w.data *= 2\n        return y",
        "`self.parameters()`",
    ),
    "changes_its_buffer": ("        self.steps += 1\n        return self.w * x", "`self.buffers()`"),
    "stays_in_another_mode": ("        self.eval()\n        return self.w * x", "`self.training`"),
    "remembers_the_result_of_the_same_array": (
        "        if getattr(self, 'x', 0) is not x:\n            self.x, self.y = x, self.w * x\n        return self.y",
        "is wrong",
    ),
    "ignores_numpy_s_errors_for_good": (
        "        import numpy\n        numpy.seterr(all='ignore')\n        return self.w * x",
        "`np.geterr()`",
    ),
    "sets_the_seed": ("        torch.manual_seed(1)\n        return self.w * x", "torch's generator has another seed"),
}


@pytest.mark.parametrize(("body", "said"), WRONG_LAYERS.values(), ids=WRONG_LAYERS)
def test_what_a_module_keeps_or_changes_shows(modules, tmp_path, body, said):
    layer, _ = module_verdicts(modules, tmp_path, LAYER.replace(FORWARD, body))
    assert (layer.status, layer.points) == (Status.FAILED, 0)
    assert said in layer.message


WRONG_USES = {
    "keeps_a_result_on_the_module": (
        "    layer.kept = getattr(layer, 'kept', layer(x))\n    return layer(layer.kept)",
        "is wrong",
    ),
    "changes_the_mode": ("    layer.eval()\n    return layer(layer(x))", "`layer.training`"),
    "changes_the_parameters": ("    y = layer(layer(x))\n    layer.w.data += 1\n    return y", "`layer.parameters()`"),
}


@pytest.mark.parametrize(("body", "said"), WRONG_USES.values(), ids=WRONG_USES)
def test_what_a_function_does_to_a_module_shows(modules, tmp_path, body, said):
    layer, applied = module_verdicts(modules, tmp_path, LAYER, f"def apply_twice(layer, x):\n{body}")
    assert layer.status == Status.PASSED
    assert (applied.status, applied.points) == (Status.FAILED, 0)
    assert said in applied.message


HONEST_LAYERS = {
    "counts_on_itself": "        self.calls = getattr(self, 'calls', 0) + 1\n        return self.w * x",
    "keeps_what_it_never_reads": "        self.last = x\n        return self.w * x",
    "puts_its_mode_back": "        self.eval()\n        y = self.w * x\n        self.train()\n        return y",
    "draws": "        torch.rand(3)\n        return self.w * x",
}


@pytest.mark.parametrize("body", HONEST_LAYERS.values(), ids=HONEST_LAYERS)
def test_what_a_module_may_do_stays_right(modules, tmp_path, body):
    assert {v.status for v in module_verdicts(modules, tmp_path, LAYER.replace(FORWARD, body))} == {Status.PASSED}


MODES = {
    "gradients_off": ("torch.set_grad_enabled(False)", "`torch.is_grad_enabled()` is not what it was"),
    "another_default_dtype": (
        "torch.set_default_dtype(torch.float16)",
        "`torch.get_default_dtype()` is not what it was",
    ),
    "a_seed": ("torch.manual_seed(0)", "torch's generator has another seed"),
}


@pytest.mark.parametrize(("line", "told"), MODES.values(), ids=MODES)
def test_a_mode_of_torch_that_is_not_put_back_is_named_and_troubles_nobody_else(tmp_path, line, told):
    tiny = tiny_assignment(tmp_path / "tiny", ["f", "g"], track="torch")
    cells = ["import torch", f"def f(x):\n    {line}\n    return 2 * x", "def g(x):\n    return 2 * x"]
    first, second = grade(make_notebook(cells, tmp_path / "mine.ipynb"), tiny)
    assert first.status == Status.FAILED
    assert f"afterwards {told}" in first.message
    assert second.status == Status.PASSED


def test_a_slow_function_is_called_no_more_often_than_needed(assignment, monkeypatch):
    namespace: dict[str, Any] = {"calls": []}
    exec("def square(x):\n    calls.append(x)\n    return x**2, x", namespace)
    probes = probes_of(load_grader(assignment.grader))
    counted = []
    for long in (inside.LONG, 0.0):
        monkeypatch.setattr(inside, "LONG", long)
        seen = list(inside.observe(probes, ["square"], inside.PUBLIC_SEED, Loaded(namespace)))
        counted.append(len(namespace["calls"]) / len(seen))
        namespace["calls"].clear()
    assert counted == [4, 2]  # one call, with one before it, and two more after it if that was quick
