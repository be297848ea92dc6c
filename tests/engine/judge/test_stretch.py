"""Grading, stretched: eight exercises of unusual shape are built, solved, solved otherwise, and got wrong on purpose.

The fixture is a small course of one assignment. It is built once, with nbgrader, and everything that is graded here
goes through the child process that grades a learner's notebook.
"""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT

from autograder.engine.assignment import Assignment, with_needs
from autograder.engine.inside.observe import PUBLIC_SEED, load_grader
from autograder.engine.inside.records import Limits
from autograder.engine.inside.wire import Opaque, Tensor
from autograder.engine.judge.grade import grade
from autograder.engine.judge.keys import AnswerKeyError, record_key
from autograder.engine.judge.mistakes import Mistake, read_mistakes
from autograder.engine.judge.verdict import Verdict
from course.base.project import Project
from course.make.build import compile_assignment, install

FIXTURE = Project(ROOT / "tests" / "fixture")
SLUG = "90_stretch"
EXERCISES = (
    "huffman_code", "pipeline_schedule", "dropout_forward", "dropout_backward",
    "ctc_collapse", "adam_step", "Value", "Scale",
)  # fmt: skip
JUDGED = {"huffman_code": "code", "pipeline_schedule": "schedule"}
OTHER_SEED = 7_654_321


@dataclass(frozen=True)
class Course:
    """The fixture, built in a folder of its own."""

    project: Project
    folder: Path

    @property
    def assignment(self) -> Assignment:
        """Its only assignment."""
        return self.project.assignment(SLUG)

    def cells(self) -> dict[str, dict[str, Any]]:
        """The cells of the compiled solution by id."""
        notebook = json.loads(self.project.solution(SLUG).read_text(encoding="utf-8"))
        return {cell["id"]: cell for cell in notebook["cells"]}

    def grade(self, sources: Mapping[str, str], *names: str, **options: Any) -> dict[str, Verdict]:
        """Grade the solution with the cells of some exercises replaced.

        Args:
            sources: exercise → what its cell holds instead.
            names: the exercises to grade; by default those that were replaced.
            options: of :func:`grade`.
        """
        notebook = json.loads(self.project.solution(SLUG).read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            cell["source"] = sources.get(cell["id"], cell["source"])
        path = self.folder / "submission.ipynb"
        path.write_text(json.dumps(notebook), encoding="utf-8")
        return by_name(grade(path, self.assignment, exercises=names or tuple(sources), **options))


def by_name(verdicts: Iterable[Verdict]) -> dict[str, Verdict]:
    return {verdict.name: verdict for verdict in verdicts}


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """The fixture with the project's own configuration of nbgrader, compiled and executed."""
    folder = tmp_path_factory.mktemp("stretch")
    root = folder / "project"
    shutil.copytree(FIXTURE.root, root, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "nbgrader_config.py", root)
    project = Project(root)
    install(project, compile_assignment(project, SLUG, execute=True))
    return Course(project, folder)


# The solution and the stub -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [PUBLIC_SEED, OTHER_SEED])
def test_solution_gets_full_points(course: Course, seed: int) -> None:
    found = grade(course.project.solution(SLUG), course.assignment, seed=seed)
    assert {v.name: (v.status, v.points) for v in found} == {
        e.name: ("passed", e.points) for e in course.assignment.exercises
    }
    assert tuple(v.name for v in found) == EXERCISES
    assert sum(v.points for v in found) == 22


def test_checks_inside_the_executed_solution_give_full_points(course: Course) -> None:
    cells = course.cells()
    for exercise in course.assignment.exercises:
        [shown] = [o for o in cells[exercise.grade_id]["outputs"] if o["output_type"] == "execute_result"]
        assert float("".join(shown["data"]["text/plain"])) == exercise.points


def test_release_is_not_attempted(course: Course) -> None:
    found = grade(course.project.release(SLUG), course.assignment)
    assert {v.name: (v.status, v.points) for v in found} == dict.fromkeys(EXERCISES, ("not_attempted", 0.0))
    assert "BEGIN SOLUTION" not in course.project.release(SLUG).read_text(encoding="utf-8")


# Mistakes ------------------------------------------------------------------------------------------------------------

MISTAKES = read_mistakes(FIXTURE.mistakes(SLUG))


def mistaken_source(course: Course, mistake: Mistake) -> str:
    """The cell of the mistake's exercise with the mistake in it."""
    return mistake.source("".join(course.cells()[mistake.exercise]["source"]))


def rounds(mistakes: Iterable[Mistake], assignment: Assignment) -> list[dict[str, Mistake]]:
    """Mistakes that one notebook can hold at once: one per exercise, and none in what another one needs."""
    found: list[dict[str, Mistake]] = []
    for mistake in mistakes:
        for held in found:
            tied = with_needs(assignment.exercises, {mistake.exercise}) & held.keys()
            tied |= {name for name in held if mistake.exercise in with_needs(assignment.exercises, {name})}
            if not tied:
                held[mistake.exercise] = mistake
                break
        else:
            found.append({mistake.exercise: mistake})
    return found


@pytest.fixture(scope="module")
def mistaken(course: Course) -> dict[tuple[str, str], Verdict]:
    """The verdict on each mistake."""
    found = {}
    for held in rounds(MISTAKES, course.assignment):
        verdicts = course.grade({name: mistaken_source(course, mistake) for name, mistake in held.items()})
        found |= {(name, held[name].name): verdict for name, verdict in verdicts.items()}
    return found


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: f"{m.exercise}-{m.name}")
def test_mistake_fails_with_its_hint(mistaken: dict[tuple[str, str], Verdict], mistake: Mistake) -> None:
    verdict = mistaken[mistake.exercise, mistake.name]
    assert verdict.status in ("failed", "partly", "error"), verdict
    assert verdict.points < verdict.max_points
    assert f"Likely cause: {mistake.hint}" in verdict.message.splitlines()
    assert sum(other.hint in verdict.message for other in MISTAKES) == 1


def test_every_exercise_has_two_to_four_mistakes() -> None:
    for name in EXERCISES:
        assert 2 <= sum(mistake.exercise == name for mistake in MISTAKES) <= 4, name


# Alternatives --------------------------------------------------------------------------------------------------------


def alternatives(path: Path) -> list[dict[str, str]]:
    """The sets of correct implementations in a file: exercise → source, with the file's imports."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    imports = [node for node in module.body if isinstance(node, ast.Import | ast.ImportFrom)]
    defined = [node for node in module.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    spaces = [node.body for node in defined if node.name not in EXERCISES]
    first = [node for node in defined if node.name in EXERCISES]
    return [
        {
            node.name: "\n".join(map(ast.unparse, [*imports, node]))
            for node in body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        for body in (first, *spaces)
    ]


ALTERNATIVES = alternatives(FIXTURE.root / "autograder" / "alternatives" / f"{SLUG}.py")


@pytest.mark.parametrize("sources", ALTERNATIVES, ids=["first", "further"])
def test_alternatives_pass(course: Course, sources: dict[str, str]) -> None:
    found = course.grade(sources, seed=OTHER_SEED)
    assert {name: verdict.message for name, verdict in found.items() if verdict.status != "passed"} == {}
    assert found.keys() == sources.keys()


def test_every_exercise_has_an_alternative() -> None:
    assert set().union(*ALTERNATIVES) == set(EXERCISES)


# Parts of the points -------------------------------------------------------------------------------------------------

PARTLY_RIGHT = {
    # only merges: blanks stay
    "repeats": ("return [[label for label, _ in groupby(path)] for path in paths]", ["`kind='repeats'`"]),
    # looks at the first path alone, and at it correctly
    "repeats and blanks": (
        "return [[label for label, _ in groupby(paths[0]) if label != blank]]",
        ["`kind='blanks'`", "`kind='repeats'`"],
    ),
    # stops at the empty path of the ragged batch
    "all but the empty path": (
        "return [[b for a, b in zip([p[0] - 1, *p], p) if a != b != blank] for p in paths]",
        ["`kind='blanks'`", "`kind='repeats'`"],
    ),
}


@pytest.mark.parametrize(("body", "right"), PARTLY_RIGHT.values(), ids=PARTLY_RIGHT)
@pytest.mark.parametrize("seed", [PUBLIC_SEED, OTHER_SEED])
def test_right_parts_earn_their_share(course: Course, body: str, right: list[str], seed: int) -> None:
    source = f"def ctc_collapse(paths, blank):\n    {body}"
    verdict = course.grade({"ctc_collapse": source}, seed=seed)["ctc_collapse"]
    assert (verdict.status, verdict.points) == ("partly", float(len(right)))
    assert f"Already right: {', '.join(right)}." in verdict.message.splitlines()


def test_a_wrong_path_to_no_part_earns_nothing(course: Course) -> None:
    source = "def ctc_collapse(paths, blank):\n    return paths"
    verdict = course.grade({"ctc_collapse": source})["ctc_collapse"]
    assert (verdict.status, verdict.points) == ("failed", 0.0)
    assert "Already right" not in verdict.message


# Judges --------------------------------------------------------------------------------------------------------------

CYCLE: list[Any] = []
CYCLE.append(CYCLE)

# What a decoded answer can be, and some things that it can't.
GARBAGE: dict[str, Any] = {
    "None": None,
    "an int": 3,
    "NaN": float("nan"),
    "a long string": "01" * 500_000,
    "a huge int": 10**5000,
    "an array": np.zeros((3, 3)),
    "a tensor": Tensor(np.ones(3), "float64"),
    "an object": Opaque("__main__.Node"),
    "a set": frozenset({"a", "b"}),
    "an empty list": [],
    "an empty dict": {},
    "nested junk": [{"a": [(None, frozenset({1}), {"b": float("nan")})]}, [[[]]], ((),)],
    "a list in itself": CYCLE,
    "codewords of other types": {"a": None, "b": float("nan"), "c": ["0"]},
    "codewords as lists": {"a": ["0"], "b": ["1"], "c": ["0", "1"]},
    "long codewords": dict(zip("abc", ("0" * 10**6, "0" * 10**6 + "1", "1" * 10**6), strict=True)),
    "odd symbols": {float("nan"): "0", (1, 2): "10", None: "11"},
    "one symbol too many": {"a": "00", "b": "01", "c": "10", "d": "11"},
    "no codeword": {"a": "", "b": "0", "c": "1"},
    "other digits": {"a": "٠", "b": "1", "c": "2"},
    "triples of junk": [(None, float("nan"), "0"), ((), [], {})],
    "triples of floats": [(0.0, 0.0, 0.0)] * 6,
    "triples of bools": [(False, False, True)] * 6,
    "huge times": [(10**5000 + stage + batch, stage, batch) for stage in range(2) for batch in range(3)],
    "negative times": [(stage + batch - 10**5000, stage, batch) for stage in range(2) for batch in range(3)],
    "one entry repeated": [(0, 0, 0)] * 6,
    "one entry too many": [(stage + batch, stage, batch) for stage in range(2) for batch in range(3)] + [(9, 0, 0)],
    "pairs": [(0, 0), (1, 1)],
    "a string of triples": "(0, 0, 0)",
}


def judges(grader: Path) -> dict[str, Callable[[Any], str | None]]:
    """The judges of the fixture, each with a question of its own and the reference's answer to it."""
    module: Any = load_grader(grader)
    frequencies = {"a": 0.5, "b": 0.25, "c": 0.25}
    code = {"a": "0", "b": "10", "c": "11"}
    schedule = [(stage + batch, stage, batch) for stage in range(2) for batch in range(3)]
    return {
        "code": lambda got: module.optimal_prefix_code(got, code, frequencies=frequencies),
        "schedule": lambda got: module.earliest_schedule(got, schedule, stages=2, microbatches=3),
    }


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("judge", JUDGED.values())
def test_judge_answers_garbage_with_a_sentence(judge: str, answer: Any) -> None:
    sentence = judges(FIXTURE.grader(SLUG))[judge](answer)
    assert isinstance(sentence, str)
    assert sentence.endswith(".")
    assert len(sentence) < 200


RIGHT_ANSWERS = {
    "code": [
        {"a": "1", "b": "01", "c": "00"},
        {"c": "00", "b": "01", "a": "1"},
    ],
    "schedule": [
        [(stage + batch, stage, 2 - batch) for batch in range(3) for stage in range(2)],
        tuple([np.int32(stage + batch), stage, batch] for stage in range(2) for batch in range(3)),
    ],
}
WRONG_ANSWERS = {
    "code": {
        "beginning": {"a": "0", "b": "01", "c": "11"},
        "codeword": {"a": "0", "b": "10"},
        "expected length": {"a": "00", "b": "01", "c": "1"},
    },
    "schedule": {
        "same tick": [(stage + (batch > 0), stage, batch) for stage in range(2) for batch in range(3)],
        "before the stage": [(batch, stage, batch) for stage in range(2) for batch in range(3)],
        "exactly once": [(stage + batch, stage, batch) for stage in range(2) for batch in range(2)],
        "ends later": [(2 * batch + stage, stage, batch) for stage in range(2) for batch in range(3)],
        "begins earlier": [(stage + batch - 1, stage, batch) for stage in range(2) for batch in range(3)],
    },
}


@pytest.mark.parametrize("judge", JUDGED.values())
def test_judge_tells_right_from_wrong(judge: str) -> None:
    ask = judges(FIXTURE.grader(SLUG))[judge]
    assert [ask(answer) for answer in RIGHT_ANSWERS[judge]] == [None] * len(RIGHT_ANSWERS[judge])
    for words, answer in WRONG_ANSWERS[judge].items():
        assert words in (ask(answer) or "")


# The same through the child process, for every exercise: what a function returns that was not thought about.
RETURNED = {
    "None": "None",
    "NaN": "float('nan')",
    "a long string": "'01' * 500_000",
    "long codewords": "{'s0': '0' * 10**6, 's1': '1' * 10**6}",
    "a list too long to send": "[0] * 10**6",
    "nested junk": "[{'a': [(None, {1}, {'b': float('nan')})]}, ((),)]",
    "a list in itself": "(lambda x: (x.append(x), x)[1])([])",
    "an array of objects": "np.array([None, 1])",
    "an object": "object()",
    "a generator": "(n for n in range(3))",
    "a huge int": "10**5000",
    "an int beyond 64 bits": "10**30",
    "a huge int in a list": "[[10**5000]]",
}


def returning(name: str, value: str) -> str:
    """A wrong solution that answers everything with one value."""
    if name == "Value":
        return (
            f"class Value:\n    def __init__(self, data):\n        self.data = self.grad = {value}\n"
            "    def __add__(self, other):\n        return self\n    __mul__ = __add__\n"
            "    def backward(self):\n        pass\n"
        )
    if name == "Scale":
        return (
            "class Scale(nn.Module):\n    def __init__(self, features):\n        super().__init__()\n"
            "        self.weight = nn.Parameter(torch.ones(features))\n"
            f"    def forward(self, x):\n        return {value}\n"
        )
    return f"def {name}(*args, **kwargs):\n    return {value}\n"


@pytest.mark.parametrize("value", RETURNED.values(), ids=RETURNED)
def test_garbage_is_graded(course: Course, value: str) -> None:
    names = [name for name in EXERCISES if name != "Scale"]
    found = course.grade({name: returning(name, value) for name in names})
    for name, verdict in found.items():
        assert (verdict.status, verdict.points) == ("blocked" if name == "dropout_backward" else "failed", 0.0), verdict
        assert "it can't be compared (" not in verdict.message
        assert len(verdict.message) < 2000


def test_garbage_from_a_torch_module_is_graded(course: Course) -> None:
    verdict = course.grade({"Scale": returning("Scale", "[x, None]")})["Scale"]
    assert (verdict.status, verdict.points) == ("failed", 0.0)


# JSON can carry half of a surrogate pair; a page or a report in UTF-8 can't.
def test_message_can_be_written_as_utf8(course: Course) -> None:
    source = "def ctc_collapse(paths, blank):\n    raise ValueError('\\ud800')"
    verdict = course.grade({"ctc_collapse": source})["ctc_collapse"]
    assert verdict.message.encode("utf-8")


# Needs, agreement, arguments -----------------------------------------------------------------------------------------

UNSCALED_FORWARD = (
    "def dropout_forward(x, keep_prob, noise):\n    kept = noise < keep_prob\n    return x * kept, (kept, 1.0)"
)
AGREEMENT = "it agrees with finite differences of your own `dropout_forward`"


def test_backward_of_a_wrong_forward_is_blocked_and_told_that_it_agrees(course: Course) -> None:
    found = course.grade({"dropout_forward": UNSCALED_FORWARD}, "dropout_forward", "dropout_backward")
    assert found["dropout_forward"].status == "failed"
    assert (found["dropout_backward"].status, found["dropout_backward"].points) == ("blocked", 0.0)
    assert AGREEMENT in found["dropout_backward"].message


def test_backward_that_contradicts_its_wrong_forward_is_only_blocked(course: Course) -> None:
    backward = "def dropout_backward(dout, cache):\n    return 2 * dout * cache[0]"
    found = course.grade({"dropout_forward": UNSCALED_FORWARD, "dropout_backward": backward})
    assert found["dropout_backward"].status == "blocked"
    assert AGREEMENT not in found["dropout_backward"].message


def test_right_backward_passes_with_any_cache_of_a_right_forward(course: Course) -> None:
    forward = (
        "def dropout_forward(x, keep_prob, noise):\n"
        "    mask = (noise < keep_prob) / keep_prob\n"
        "    return x * mask, mask"
    )
    backward = "def dropout_backward(dout, cache):\n    return dout * cache"
    found = course.grade({"dropout_forward": forward, "dropout_backward": backward})
    assert {verdict.status for verdict in found.values()} == {"passed"}


ADAM = """
def adam_step(params, grads, state, *, lr, betas, eps):
    t = state["t"] + 1
    m = {k: betas[0] * state["m"][k] + (1 - betas[0]) * g for k, g in grads.items()}
    v = {k: betas[1] * state["v"][k] + (1 - betas[1]) * g**2 for k, g in grads.items()}
    step = {k: lr * m[k] / (1 - betas[0]**t) / (np.sqrt(v[k] / (1 - betas[1]**t)) + eps) for k in params}
    new = {k: p - step[k] for k, p in params.items()}
    CHANGE
    return new, {"m": m, "v": v, "t": t}
"""
IN_PLACE = {
    "params": "for k, p in params.items(): p -= step[k]",
    "grads": "for g in grads.values(): g *= 0",
    "state": 'for k in m: state["m"][k][...] = m[k]',
}


def adam(change: str = "pass") -> dict[str, str]:
    """A right step of Adam that also does something to its arguments."""
    return {"adam_step": ADAM.replace("CHANGE", change)}


def test_adam_without_changes_in_place_passes(course: Course) -> None:
    assert course.grade(adam())["adam_step"].status == "passed"


@pytest.mark.parametrize(("argument", "change"), IN_PLACE.items(), ids=IN_PLACE)
def test_changed_argument_is_caught_though_the_values_are_right(course: Course, argument: str, change: str) -> None:
    verdict = course.grade(adam(change))["adam_step"]
    assert (verdict.status, verdict.points) == ("failed", 0.0)
    headline = verdict.message.splitlines()[0]
    assert "values are right" in headline
    assert f"`{argument}`" in headline
    assert "in place" in headline


# Numbers in a dict count as well as arrays.
def test_changed_step_count_is_caught(course: Course) -> None:
    assert course.grade(adam('state["t"] += 1'))["adam_step"].status == "failed"


# And so do the items of a list.
def test_changed_path_is_caught(course: Course) -> None:
    source = (
        "def ctc_collapse(paths, blank):\n"
        "    found = [[label for label, _ in groupby(path) if label != blank] for path in paths]\n"
        "    for path in paths:\n        path[:] = [blank] * len(path)\n"
        "    return found"
    )
    assert course.grade({"ctc_collapse": source})["ctc_collapse"].status == "failed"


# Endings -------------------------------------------------------------------------------------------------------------


def test_forbidden_layer_is_found(course: Course) -> None:
    source = (
        "class Scale(nn.Module):\n    def __init__(self, features):\n        super().__init__()\n"
        "        self.weight = nn.Linear(features, features, bias=False).weight\n"
        "    def forward(self, x):\n        return x * torch.diagonal(self.weight)\n"
    )
    verdict = course.grade({"Scale": source})["Scale"]
    assert (verdict.status, verdict.points) == ("forbidden", 0.0)
    assert "torch.nn.Linear" in verdict.message


def test_torch_in_a_numpy_exercise_is_found(course: Course) -> None:
    source = "def dropout_forward(x, keep_prob, noise):\n    return torch.dropout(x), None"
    assert course.grade({"dropout_forward": source})["dropout_forward"].status == "forbidden"


def test_walk_along_every_path_runs_out_of_time(course: Course) -> None:
    """Without a record of what it has seen, a backward walk takes 2 ** 100 steps on the long chain."""
    source = "".join(course.cells()["Value"]["source"]).replace("if value not in seen:", "if True:")
    verdict = course.grade({"Value": source}, limits=Limits(seconds=2.0))["Value"]
    assert (verdict.status, verdict.points) == ("timeout", 0.0)


# What a build refuses ------------------------------------------------------------------------------------------------


def record(course: Course, folder: Path, *, grader: str = "", mistakes: str = "") -> dict[str, Any]:
    """The key of the fixture, recorded with lines added to its grader or its mistakes."""
    files = []
    for original, more in ((course.assignment.grader, grader), (course.project.mistakes(SLUG), mistakes)):
        files.append(folder / original.name)
        files[-1].write_text(original.read_text(encoding="utf-8") + more, encoding="utf-8")
    return record_key(replace(course.assignment, grader=files[0]), files[1], {})


def test_build_refuses_a_part_that_is_the_same_for_every_seed(course: Course, tmp_path: Path) -> None:
    lines = (
        '\n\n@probe("ctc_collapse", cases=[("no label", (0, 0), 0)], part="kind")\n'
        "def only_blanks(impl, rng, kind, path, blank):\n"
        '    yield "labellings", impl.ctc_collapse([list(path)], blank)\n'
    )
    with pytest.raises(AnswerKeyError, match=r"ctc_collapse \(kind='no label'\) varies"):
        record(course, tmp_path, grader=lines)


def test_build_refuses_a_call_that_needs_does_not_declare(course: Course, tmp_path: Path) -> None:
    lines = '\n\n@probe("ctc_collapse")\ndef elsewhere(impl, rng):\n    y = impl.Value(1.0)\n    yield "data", y.data\n'
    with pytest.raises(AnswerKeyError, match=r"elsewhere calls \['Value'\]"):
        record(course, tmp_path, grader=lines)


# Whether a mistake differs from the reference is decided as in grading, by the judge.
def test_build_refuses_a_mistake_that_the_judge_accepts(course: Course, tmp_path: Path) -> None:
    change = "[['[(frequency, n, ', '[(frequency, -n, ']]"
    lines = f"\n[huffman_code.other_ties]\nhint = 'this is right'\nchange = {change}\n"
    with pytest.raises(AnswerKeyError, match="other_ties"):
        record(course, tmp_path, mistakes=lines)


# A judge is looked up by its name when the key is read.
def test_build_refuses_a_judge_inside_a_function(course: Course, tmp_path: Path) -> None:
    lines = """

@probe("Value")
def judged(impl, rng):
    yield "data", observe(impl.Value(float(rng.random())).data, judge=lambda got, expected: None)
"""
    with pytest.raises(AnswerKeyError, match="top level"):
        record(course, tmp_path, grader=lines)


# The rounding of a constant is no variation, and earns nothing.
def test_constant_up_to_rounding_does_not_vary(course: Course, tmp_path: Path) -> None:
    lines = """

@probe("dropout_forward")
def mean_of_kept(impl, rng):
    x, noise = rng.standard_normal(100), rng.random(100)
    out, _ = impl.dropout_forward(x, 0.3, noise)
    yield "ratio", float(np.sum(out[noise < 0.3]) / np.sum(x[noise < 0.3]))
"""
    key = record(course, tmp_path, grader=lines)
    [case] = [case for case in key["cases"] if case["probe"] == "mean_of_kept"]
    assert not case["values"]["ratio"]["varies"]
