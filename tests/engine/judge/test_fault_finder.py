"""What the fault finder says of sixty wrong answers, none of which is a known mistake: the true cause, or nothing.

Each answer stands with a piece of the sentence that its author would be helped by; what no sentence can tell from the
values and the text alone has none, and then silence is right. A cause that is not the true one is worse than none:
there may be no such cause.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from textwrap import dedent, indent

import pytest
from conftest import make_notebook, own_assignment

from autograder.engine.judge.grade import grade
from autograder.engine.judge.verdict import Label, Status

SILENT = ""  # nothing can be known


@dataclass(frozen=True)
class Task:
    """Something to write.

    Attributes:
        arguments: of the function.
        right: its body.
        draws: where its arguments come from, given `n` and `d`.
        yields: the names of what it returns.
        wrong: name → body, and a piece of the sentence that is deserved.
    """

    arguments: str
    right: str
    draws: str
    wrong: dict[str, tuple[str, str]]
    yields: str = "y"


TASKS = {
    "softmax": Task(
        "x",
        "e = np.exp(x - x.max(axis=1, keepdims=True))\nreturn e / e.sum(axis=1, keepdims=True)",
        "x = 3 * rng.standard_normal((n, d))",
        {
            "over_all": ("e = np.exp(x)\nreturn e / e.sum()", SILENT),
            "over_columns": ("e = np.exp(x)\nreturn e / e.sum(axis=0)", SILENT),
            "of_minus_x": ("e = np.exp(-x)\nreturn e / e.sum(axis=1, keepdims=True)", SILENT),
            "not_divided": ("return np.exp(x - x.max(axis=1, keepdims=True))", SILENT),
            "turned": (
                "e = np.exp(x)\nreturn (e / e.sum(axis=1, keepdims=True)).T",
                "The transpose has the right shape",
            ),
            "single_precision": (
                "e = np.exp(x.astype(np.float32))\nreturn (e / e.sum(axis=1, keepdims=True)).astype(float)",
                "seven digits",
            ),
            "small_number_added": (
                "e = np.exp(x - x.max(axis=1, keepdims=True))\nreturn e / (e.sum(axis=1, keepdims=True) + 1e-7)",
                "seven digits",
            ),
            "nothing_yet": ("return np.zeros_like(x)", "Every value is zero"),
        },
    ),
    "stable_softmax": Task(
        "x",
        "e = np.exp(x - x.max(axis=1, keepdims=True))\nreturn e / e.sum(axis=1, keepdims=True)",
        "x = 500 * rng.standard_normal((n, d)) + 2000",
        {"not_shifted": ("e = np.exp(x)\nreturn e / e.sum(axis=1, keepdims=True)", "NaN comes from inf - inf")},
    ),
    "log_sum_exp": Task(
        "x",
        "m = x.max(axis=1)\nreturn m + np.log(np.exp(x - m[:, None]).sum(axis=1))",
        "x = 3 * rng.standard_normal((n, d)) + 2000",
        {
            "not_shifted": ("return np.log(np.exp(x).sum(axis=1))", "an overflow"),
            "shift_forgotten": ("m = x.max(axis=1)\nreturn np.log(np.exp(x - m[:, None]).sum(axis=1))", SILENT),
            "largest_alone": ("return x.max(axis=1)", SILENT),
            "axis_kept": (
                "m = x.max(axis=1, keepdims=True)\nreturn m + np.log(np.exp(x - m).sum(axis=1, keepdims=True))",
                "Only axes of length 1 differ",
            ),
            "over_all": ("return x.max() + np.log(np.exp(x - x.max()).sum())", SILENT),
        },
    ),
    "entropy": Task(
        "p",
        "return -(p * np.log2(p)).sum(axis=1)",
        "p = rng.dirichlet(np.ones(d), size=n)",
        {
            "in_nats": ("return -(p * np.log(p)).sum(axis=1)", "ln 2"),
            "sign": ("return (p * np.log2(p)).sum(axis=1)", "wrong sign"),
            "mean": ("return -(p * np.log2(p)).mean(axis=1)", "1/d"),
            "smoothed": ("return -(p * np.log2(p + 1e-9)).sum(axis=1)", "seven digits"),
            "without_weights": ("return -np.log2(p).sum(axis=1)", SILENT),
        },
    ),
    "squares_backward": Task(
        "x, y",
        "return 2 * (x - y) / len(x)",
        "x, y = rng.standard_normal((2, n, d))",
        {
            "not_averaged": ("return 2 * (x - y)", "n here"),
            "no_two": ("return (x - y) / len(x)", "times 0.5"),
            "the_other_way": ("return 2 * (y - x) / len(x)", "wrong sign"),
            "over_all_elements": ("return 2 * (x - y) / x.size", "1/d here"),
            "absolute": ("return 2 * np.abs(x - y) / len(x)", SILENT),
            "target_ignored": ("return 2 * x / len(x)", "`y` is never used"),
        },
    ),
    "normalised": Task(
        "x, eps=1e-5",
        "return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + eps)",
        "x = rng.standard_normal((n, d)) + 1",
        {
            "one_less": (
                "return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True, ddof=1) + eps)",
                SILENT,
            ),
            "eps_fixed": (
                "return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-3)",
                "`eps` is never used",
            ),
            "over_batch": ("return (x - x.mean(0)) / np.sqrt(x.var(0) + eps)", SILENT),
            "no_root": ("return (x - x.mean(1, keepdims=True)) / (x.var(1, keepdims=True) + eps)", SILENT),
            "not_centred": ("return x / np.sqrt(x.var(1, keepdims=True) + eps)", SILENT),
        },
    ),
    "linear_backward": Task(
        "dy, x, W",
        "return dy @ W.T, x.T @ dy, dy.sum(0)",
        "dy, x, W = rng.standard_normal((n, d + 2)), rng.standard_normal((n, d)), rng.standard_normal((d, d + 2))",
        {
            "weights_turned": ("return dy @ W.T, dy.T @ x, dy.sum(0)", "The transpose has the right shape"),
            "weights_averaged": ("return dy @ W.T, x.T @ dy / len(x), dy.sum(0)", "1/n here"),
            "bias_not_summed": ("return dy @ W.T, x.T @ dy, dy", "an axis too many"),
            "bias_averaged": ("return dy @ W.T, x.T @ dy, dy.mean(0)", "1/n here"),
            "bias_of_all": ("return dy @ W.T, x.T @ dy, dy.sum()", SILENT),
        },
        "dx dW db",
    ),
    "two_outputs": Task(
        "x, g",
        "return g * x.cumsum(1), g * x[:, ::-1]",
        "x, g = rng.standard_normal((2, n, d))",
        {
            "swapped": ("return g * x[:, ::-1], g * x.cumsum(1)", "right, but swapped"),
            "upstream_ignored": ("return x.cumsum(1), x[:, ::-1]", "`g` is never used"),
        },
        "one two",
    ),
    "embedding_backward": Task(
        "dy, ids, rows",
        "dW = np.zeros((rows, dy.shape[1]))\nnp.add.at(dW, ids, dy)\nreturn dW",
        "dy, ids, rows = rng.standard_normal((3 * n, d)), rng.integers(0, 4, 3 * n), 4",
        {
            "added_once": ("dW = np.zeros((rows, dy.shape[1]))\ndW[ids] += dy\nreturn dW", "an index that is repeated"),
            "set": ("dW = np.zeros((rows, dy.shape[1]))\ndW[ids] = dy\nreturn dW", SILENT),
            "a_place_with_a_name": (
                "dW = np.zeros((rows, dy.shape[1]))\nall_of = np.s_[:]\ndW[all_of] += dy[ids[0]]\nreturn dW",
                SILENT,
            ),
            "one_row_too_many": (
                "dW = np.zeros((rows + 1, dy.shape[1]))\nnp.add.at(dW, ids, dy)\nreturn dW",
                SILENT,
            ),
        },
    ),
    "recurrence": Task(
        "x, a",
        "h, hs = np.zeros(x.shape[1]), []\nfor row in x:\n    h = np.tanh(a * h + row)\n    hs.append(h)\n"
        "return np.array(hs)",
        "x, a = rng.standard_normal((n + 2, d)), 0.9",
        {
            "state_forgotten": ("return np.tanh(x)", "Only the first index along axis 0 is right"),
            "not_carried": (
                "h = np.zeros(x.shape[1])\nreturn np.array([np.tanh(a * h + row) for row in x])",
                "first index",
            ),
            "backwards": (
                "h, hs = np.zeros(x.shape[1]), []\nfor row in x:\n    h = np.tanh(a * h + row)\n    hs.append(h)\n"
                "return np.array(hs[::-1])",
                "reverse order along axis 0",
            ),
            "one_late": (
                "h, hs = np.zeros(x.shape[1]), []\nfor row in x:\n    hs.append(h)\n    h = np.tanh(a * h + row)\n"
                "return np.array(hs)",
                SILENT,
            ),
            "last_left_linear": (
                "h, hs = np.zeros(x.shape[1]), []\nfor t, row in enumerate(x):\n    z = a * h + row\n"
                "    h = z if t == len(x) - 1 else np.tanh(z)\n    hs.append(h)\nreturn np.array(hs)",
                "Only the last index along axis 0 is wrong",
            ),
        },
    ),
    "gates": Task(
        "z",
        "i, f, g, o = np.split(z, 4, axis=1)\n"
        "return np.concatenate([1 / (1 + np.exp(-i)), 1 / (1 + np.exp(-f)), np.tanh(g), 1 / (1 + np.exp(-o))], axis=1)",
        "z = rng.standard_normal((n, 4 * d))",
        {
            "all_sigmoid": ("return 1 / (1 + np.exp(-z))", "Only block 2"),
            "forget_in_place_of_input": (
                "i, f, g, o = np.split(z, 4, axis=1)\n"
                "f, i, o = (1 / (1 + np.exp(-gate)) for gate in (f, i, o))\n"
                "return np.concatenate([f, i, np.tanh(g), o], axis=1)",
                "in the order [1, 0, 2, 3]",
            ),
            "all_tanh": ("return np.tanh(z)", SILENT),
        },
    ),
    "attention": Task(
        "q, k",
        "s = q @ k.T / np.sqrt(q.shape[1])\ne = np.exp(s - s.max(1, keepdims=True))\n"
        "return e / e.sum(1, keepdims=True)",
        "q, k = rng.standard_normal((n, d)), rng.standard_normal((n + 1, d))",
        {
            "not_scaled": ("e = np.exp(q @ k.T)\nreturn e / e.sum(1, keepdims=True)", SILENT),
            "by_d": ("e = np.exp(q @ k.T / q.shape[1])\nreturn e / e.sum(1, keepdims=True)", SILENT),
            "roles_swapped": (
                "e = np.exp(k @ q.T / np.sqrt(q.shape[1]))\nreturn e / e.sum(1, keepdims=True)",
                "The transpose has the right shape",
            ),
            "scores_alone": ("return q @ k.T / np.sqrt(q.shape[1])", SILENT),
        },
    ),
    "pictures": Task(
        "x",
        "return x.transpose(0, 2, 1) * 2",
        "x = rng.standard_normal((n, d, d + 3))",
        {
            "as_they_were": ("return x * 2", "axes are in another order"),
            "without_factor": ("return x.transpose(0, 2, 1)", "times 0.5"),
            "upside_down": ("return 2 * x.transpose(0, 2, 1)[:, ::-1]", "reverse order along axis 1"),
        },
    ),
    "moving_sum": Task(
        "x",
        "padded = np.concatenate([[0.0], x, [0.0]])\nreturn padded[:-2] + padded[1:-1] + padded[2:]",
        "x = rng.standard_normal(n * d)",
        {
            "mean": (
                "padded = np.concatenate([[0.0], x, [0.0]])\nreturn (padded[:-2] + padded[1:-1] + padded[2:]) / 3",
                "times 0.333",
            ),
            "round_the_corner": ("return x + np.roll(x, 1) + np.roll(x, -1)", SILENT),
            "past_alone": ("padded = np.concatenate([[0.0], x])\nreturn padded[:-1] + padded[1:]", SILENT),
            "no_padding": ("return x[:-2] + x[1:-1] + x[2:]", SILENT),
        },
    ),
    "places": Task(
        "x",
        "return np.argsort(x, axis=1) + 1",
        "x = rng.standard_normal((n, d + 3))",
        {
            "from_zero": ("return np.argsort(x, axis=1)", "off by -1"),
            "descending": ("return np.argsort(-x, axis=1) + 1", SILENT),
        },
    ),
    "powers": Task(
        "x",
        "return np.stack([x**k for k in range(3)], axis=1)",
        "x = rng.standard_normal(n * d)",
        {
            "bound_late": (
                "functions = [lambda v: v**k for k in range(3)]\nreturn np.stack([f(x) for f in functions], axis=1)",
                "sees the last `k`",
            ),
            "kept_in_a_loop": (
                "functions = []\nfor k in range(3):\n    functions.append(lambda v: v**k)\n"
                "return np.stack([f(x) for f in functions], axis=1)",
                "sees the last `k`",
            ),
        },
    ),
    "distances": Task(
        "x",
        "return np.sqrt((x**2).sum(1))",
        "x = rng.standard_normal((n + 3, d))",
        {
            "against_a_column": ("return np.sqrt((x**2).sum(1, keepdims=True) * np.ones(len(x)))", "broadcasting"),
            "shifted": ("return np.sqrt((x**2).sum(1)) + 1.0", "off by the same +1"),
            "squared": ("return (x**2).sum(1)", SILENT),
        },
    ),
}
ANSWERS = {f"{task}__{name}": (task, *wrong) for task, made in TASKS.items() for name, wrong in made.wrong.items()}


def function(name: str, task: str, body: str) -> str:
    return f"def {name}({TASKS[task].arguments}):\n{indent(body, '    ')}"


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> dict[str, tuple[Status, list[str]]]:
    """Answer → its verdict's status, and the causes that are named."""
    folder = tmp_path_factory.mktemp("faults")
    probes = ["import numpy as np\nfrom autograder.engine.probes import named, observe, probe"]
    for name, (task, *_) in ANSWERS.items():
        made = TASKS[task]
        arguments = [a.split("=")[0].strip() for a in made.arguments.split(",") if "=" not in a]
        call = f"impl.{name}({', '.join(arguments)})"
        probes.append(
            dedent(f"""
            @probe("{name}", cases=[(3, 4), (5, 6)])
            def probe_of_{name}(impl, rng, n, d):
                {made.draws}
                yield from named("{made.yields}", {call if " " in made.yields else f"[{call}]"})
            """)
        )
    right = {name: function(name, task, TASKS[task].right) for name, (task, *_) in ANSWERS.items()}
    stubs = {name: f"def {name}({TASKS[task].arguments}):\n    " for name, (task, *_) in ANSWERS.items()}
    assignment = own_assignment(folder, right, stubs, "\n".join(probes))
    cells = ["import numpy as np", *(function(name, task, body) for name, (task, body, _) in ANSWERS.items())]
    found = grade(make_notebook(cells, folder / "mine.ipynb"), assignment)
    return {v.name: (v.status, [r.text for r in v.reasons if r.label == Label.CAUSE]) for v in found}


def test_sixty_wrong_answers_are_wrong(said):
    assert len(said) >= 60
    assert {status for status, _ in said.values()} == {Status.FAILED}


@pytest.mark.parametrize("name", ANSWERS)
def test_the_cause_is_the_true_one_or_none(said, name):
    deserved, (_, causes) = ANSWERS[name][2], said[name]
    assert not causes or (deserved and deserved.lower() in causes[0].lower()), causes


def test_six_in_ten_are_told_the_cause_and_nobody_is_misled(said):
    counts = Counter("named" if causes else "missed" if ANSWERS[n][2] else "silent" for n, (_, causes) in said.items())
    assert counts == {"named": 40, "silent": 27}
