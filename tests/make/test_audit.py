"""The audit of graders: a sound one is found sound, and every kind of fault is named."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent

import pytest
from conftest import ROOT, s30

from autograder.engine.inside.errors import UserError
from autograder.engine.judge.keys import record_key, write_key
from course.base.fingerprints import fingerprint
from course.base.project import Project
from course.make.audit import Audit, Measured, audit, details, is_current, read
from course.make.audit.alternatives import read_alternatives
from course.make.audit.measure import BOTH
from course.make.audit.mutants import mutants
from course.make.audit.trials import Bench, Trial

SLUG = "42_tiny"


@dataclass(frozen=True)
class Exercise:
    """An exercise of a small assignment.

    Attributes:
        given: its code, with a line SOLUTION.
        solution: what stands there in the solution.
        track: forward, backward or torch.
        needs: of its card.
    """

    given: str
    solution: str
    track: str = "forward"
    needs: tuple[str, ...] = ()

    def source(self, body: str) -> str:
        """Its cell with `body` in place of the line SOLUTION."""
        [line] = [line for line in self.given.splitlines() if line.strip() == "SOLUTION"]
        return self.given.replace(line, indent(body, line.removesuffix("SOLUTION")))


def tiny_project(root: Path, exercises: Mapping[str, Exercise], **files: str) -> Project:
    """A project of one compiled assignment.

    Args:
        root: its folder.
        exercises: name → exercise.
        files: the text of its grader, mistakes, alternatives and oracle.
    """
    project = Project(root)
    for kind, text in files.items():
        path: Path = getattr(project, kind)(SLUG)
        path.parent.mkdir(parents=True)
        path.write_text(dedent(text), encoding="utf-8")
    stub = "raise NotImplementedError()"
    master = {n: e.source(f"### BEGIN SOLUTION\n{e.solution}\n### END SOLUTION") for n, e in exercises.items()}
    for path, sources in (
        (project.source(SLUG), master),
        (project.release(SLUG), {n: e.source(stub) for n, e in exercises.items()}),
        (project.solution(SLUG), {n: e.source(e.solution) for n, e in exercises.items()}),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(notebook(exercises, sources)), encoding="utf-8")
    key = record_key(project.assignment(SLUG), project.mistakes(SLUG), fingerprint(project, SLUG, "build"))
    write_key(key, project.key(SLUG))
    return project


def notebook(exercises: Mapping[str, Exercise], sources: Mapping[str, str]) -> dict:
    """A notebook in which each exercise has its source and a check of two points."""
    common = {"schema_version": 3, "points": 2}
    cells = [cell("setup", "import numpy as np\nimport torch\nfrom torch import nn")]
    for name, exercise in exercises.items():
        marks = {**common, "grade_id": name, "grade": False, "solution": True}
        card = {"track": exercise.track, "needs": exercise.needs}
        cells.append(cell(name, sources[name], s30=card, nbgrader=marks))
        marks = {**common, "grade_id": f"{name}-check", "grade": True, "solution": False}
        cells.append(cell(f"{name}-check", f'check("{name}")', nbgrader=marks))
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def cell(name: str, source: str, **metadata: dict) -> dict:
    return {"cell_type": "code", "id": name, "metadata": metadata, "source": source, "outputs": []}


def measured(found: Audit, name: str) -> Measured:
    [exercise] = [e for e in found.exercises if e.id == f"42/{name}"]
    return exercise


# A sound grader ------------------------------------------------------------------------------------------------------

SOUND = {
    "gate_forward": Exercise(
        "def gate_forward(x, w):\n    SOLUTION",
        "out = x * np.tanh(w)\nreturn out, (x, w)",
    ),
    "gate_backward": Exercise(
        "def gate_backward(dout, cache):\n    x, w = cache\n    SOLUTION",
        "return dout * np.tanh(w), dout * x * (1 - np.tanh(w) ** 2)",
        "backward",
        ("gate_forward",),
    ),
    "Gate": Exercise(
        "class Gate(nn.Module):\n    def __init__(self, size):\n        super().__init__()\n"
        "        self.w = nn.Parameter(torch.randn(size) / size**0.5)\n\n"
        "    def forward(self, x):\n        SOLUTION",
        "return x * torch.tanh(self.w)",
        "torch",
    ),
    "numbered": Exercise(
        'def numbered(x: np.ndarray) -> np.ndarray:\n    """Each of N > 0 numbers times its place."""\n    SOLUTION',
        "if x.ndim != 1:\n"
        '    raise ValueError(f"one axis is expected, not {x.ndim + 0}")\n'
        "return np.arange(x.shape[0]) * x",
    ),
}
SOUND_FILES = {
    "grader": """
        import numpy as np
        from autograder.engine.probes import fill, named, probe, shapes

        @probe("gate_forward", cases=[1, 7])
        def outputs(impl, rng, size):
            x, w = rng.standard_normal((2, 3, size))
            out, _ = impl.gate_forward(x, w)
            yield "out", out

        @probe("gate_backward", cases=[1, 7, 150_000])
        def gradients(impl, rng, size):
            x, w, dout = rng.standard_normal((3, 2, size))
            _, cache = impl.gate_forward(x, w)
            yield from named("dx dw", impl.gate_backward(dout, cache))

        @probe("Gate", cases=[1, 5])
        def module(impl, rng, size):
            import torch

            x = torch.tensor(rng.standard_normal((3, size)), requires_grad=True)
            upstream, seed = torch.tensor(rng.standard_normal((3, size))), int(rng.integers(2**32))
            gate = fill(impl.Gate(size).double(), seed)
            yield "parameters", shapes(gate)
            out = gate(x)
            yield "out", out
            out.backward(upstream)
            yield from named("dx dw", (x.grad, gate.w.grad))

        @probe("numbered", cases=[2, 9])
        def products(impl, rng, size):
            yield "products", impl.numbered(rng.standard_normal(size))

        @probe("numbered")
        def refusal(impl, rng):
            try:
                impl.numbered(np.zeros((2, 2)))
            except ValueError:
                yield "refused", True
        """,
    "mistakes": """
        [gate_forward.not_squashed]
        hint = "the gate is not squashed."
        change = [['np.tanh(w)', 'w']]
        [gate_backward.not_squared]
        hint = "the square is missing."
        change = [[' ** 2', '']]
        [Gate.gate_detached]
        hint = "no gradient reaches w."
        change = [['self.w)', 'self.w.detach())']]
        [numbered.from_one]
        hint = "places count from 0."
        change = [['x.shape[0]) * x', '1, x.shape[0] + 1) * x']]
        """,
    "alternatives": """
        import numpy as np
        import torch
        from torch import nn

        def gate_forward(x, w):
            return np.tanh(w) * x, {"gate": np.tanh(w), "x": x}

        def gate_backward(dout, cache):
            return cache["gate"] * dout, (1 - cache["gate"]) * (1 + cache["gate"]) * cache["x"] * dout

        class Gate(nn.Module):
            def __init__(self, size):
                super().__init__()
                self.register_parameter("w", nn.Parameter(torch.zeros(size)))

            def forward(self, x):
                return torch.einsum("ns,s->ns", x, torch.tanh(self.w))

        def numbered(x):
            if len(x.shape) > 1:
                raise ValueError
            return np.array([place * value for place, value in enumerate(x)])

        class Further:
            def numbered(x):
                if len(x.shape) > 1:
                    raise ValueError
                return (np.cumsum(np.ones_like(x)) - 1) * x

        EQUIVALENT = {
            "numbered": {
                "return np.arange(x.shape[-1]) * x": "there is one axis, so the first is the last",
                "if x.ndim > 1:": "no array that the text allows has fewer axes",
            },
        }
        """,
    "oracle": "# gate_forward, gate_backward, Gate, numbered\n",
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a sound grader, audited by the command."""
    return tiny_project(tmp_path_factory.mktemp("sound"), SOUND, **SOUND_FILES)


@pytest.fixture(scope="module")
def sound_run(sound: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, dict]:
    report = tmp_path_factory.mktemp("report") / "audit.json"
    ran = s30("audit", "--report", str(report), root=ROOT, S30_ROOT=str(sound.root))
    return ran, json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {}


def test_sound_grader_is_ok(sound_run):
    ran, report = sound_run
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[-1].startswith("audit: 4 exercises, 4/4 mistakes, ")
    assert lines[-1].endswith(" alternatives: ok")
    assert "(100.0 %)" in lines[-1]
    assert any("42/gate_backward" in line and "yes" in line for line in lines)
    assert report["ok"] is True
    assert report["summary"] == lines[-1]
    assert report["assignments"][0]["faults"] == []


def test_every_cheat_that_can_be_derived_was_tried(sound, sound_run):
    found = read(sound, SLUG)
    assert found is not None
    assert set(measured(found, "gate_backward").cheats.values()) == {"ok"}
    differences = {f"{how}{name}" for how in ("", "batched ") for name in ("finite differences", "complex step")}
    assert set(measured(found, "gate_backward").cheats) >= {"upstream ignored", *differences}
    assert measured(found, "Gate").cheats["detached"] == "ok"
    assert measured(found, "gate_forward").cheats["input returned"] == "ok"
    assert "finite differences" not in measured(found, "gate_forward").cheats
    assert measured(found, "numbered").equivalent == 2
    assert measured(found, "numbered").seeds == 20
    assert measured(found, "numbered").alternatives == {
        "first": "ok", "Further": "ok", "non-contiguous inputs": "ok", "read-only inputs": "ok",
    }  # fmt: skip


def test_what_is_current_is_not_measured_again(sound, sound_run):
    kept = sound.audit(SLUG)
    before = kept.stat().st_mtime_ns
    ran = s30("audit", root=ROOT, S30_ROOT=str(sound.root))
    assert (ran.returncode, ran.stdout) == (0, sound_run[0].stdout)
    assert kept.stat().st_mtime_ns == before


@pytest.mark.parametrize(("changed", "again"), [("autograder/engine/judge", 3), ("grader", 0)])
def test_a_change_of_the_engine_alone_is_measured_at_fewer_seeds(sound, sound_run, changed, again):
    path = sound.audit(SLUG)
    before = path.read_bytes()
    kept = json.loads(before)
    kept["fingerprint"][changed] = "another"
    path.write_text(json.dumps(kept), encoding="utf-8")
    ran = s30("audit", root=ROOT, S30_ROOT=str(sound.root))
    assert ran.returncode == 0, ran.stdout
    found = read(sound, SLUG)
    assert found is not None
    assert found.again == again
    assert ("20, 3 again" in ran.stdout) == bool(again)
    assert json.loads(path.read_bytes())["exercises"] == json.loads(before)["exercises"]
    path.write_bytes(before)


@pytest.mark.parametrize("kind", ["source", "grader", "mistakes", "alternatives", "oracle"])
def test_a_change_makes_the_audit_stale(sound, sound_run, kind):
    assert is_current(sound, SLUG)
    path: Path = getattr(sound, kind)(SLUG)
    before = path.read_bytes()
    assert kind != "source" or b"import numpy as np" in before  # of a master only code counts
    path.write_bytes(before.replace(b"import numpy as np", b"import numpy as np  #", 1) + b"\n")
    try:
        assert not is_current(sound, SLUG)
    finally:
        path.write_bytes(before)
    assert is_current(sound, SLUG)


def test_a_damaged_audit_is_stale(sound, sound_run):
    path = sound.audit(SLUG)
    before = path.read_bytes()
    path.write_bytes(before[:-20])
    try:
        assert read(sound, SLUG) is None
        assert not is_current(sound, SLUG)
    finally:
        path.write_bytes(before)


def test_what_was_not_compiled_is_not_audited(sound, sound_run):
    path = sound.mistakes(SLUG)
    before = path.read_bytes()
    path.write_bytes(before + b"\n")
    try:
        with pytest.raises(UserError, match="run `s30 build 42` first"):
            audit(sound, SLUG)
    finally:
        path.write_bytes(before)


def test_where_it_is_asked_only_whether_something_fails_the_first_wrong_case_is_the_last(sound):
    bench, seeds = Bench(sound.assignment(SLUG), BOTH), BOTH
    wrong = "def gate_forward(x, w):\n    return x * (np.tanh(w) if len(x.T) > 1 else w), (x, w)"
    right = "def gate_forward(x, w):\n    return np.tanh(w) * x, (x, w)"
    trials = {
        "wrong": Trial(["gate_forward"], seeds, 60, {"gate_forward": wrong}, stop=seeds[1:]),
        "right": Trial(["gate_forward"], seeds, 60, {"gate_forward": right}, stop=seeds),
    }
    seen = {label: outcome for label, _, outcome in bench.run(trials)}
    ran = {label: [(seed, case) for (_, _, case), seed in outcome.records] for label, outcome in seen.items()}
    assert ran == {
        "wrong": [(seeds[0], 0), (seeds[0], 1), (seeds[1], 0)],
        "right": [(s, c) for s in seeds for c in (0, 1)],
    }
    assert [bench.keeps("gate_forward", seen[label], seeds[1]) for label in trials] == [False, True]


# Unsound graders -----------------------------------------------------------------------------------------------------

UNSOUND = {
    "twice": Exercise("def twice(x):\n    SOLUTION", "return 2 * x"),
    "product": Exercise("def product(x, y):\n    SOLUTION", "return x * y"),
    "direction": Exercise("def direction(x):\n    SOLUTION", "return x / np.sqrt(np.sum(x * x))"),
    "noise": Exercise("def noise(count):\n    SOLUTION", "return np.sin(np.arange(count) + 0.5)"),
    "size_of": Exercise("def size_of(x):\n    SOLUTION", "return abs(x)"),
    "halves": Exercise("def halves(x):\n    SOLUTION", "return [x / 2, x - x / 2]"),
    "square_forward": Exercise("def square_forward(x):\n    SOLUTION", "return x * x, x"),
    "square_backward": Exercise(
        "def square_backward(dout, cache):\n    SOLUTION", "return 2 * cache * dout", "backward", ("square_forward",)
    ),
}
UNSOUND_FILES = {
    "grader": """
        import numpy as np
        from autograder.engine.probes import observe, probe

        @probe("twice", cases=[3])
        def doubled(impl, rng, size):
            yield "y", impl.twice(rng.standard_normal(size))

        @probe("product", cases=[3])
        def second_factor_is_one(impl, rng, size):
            x = rng.standard_normal(size)
            yield "xy", impl.product(x, np.ones(size))

        @probe("direction", cases=[3])
        def compared_with_its_sign(impl, rng, size):
            yield "direction", impl.direction(rng.standard_normal(size))

        def as_many(got, expected):
            return None if np.shape(got) == np.shape(expected) else "another number is expected."

        @probe("noise", cases=[1000])
        def only_the_number_is_looked_at(impl, rng, most):
            yield "noise", observe(impl.noise(int(rng.integers(most))), judge=as_many)

        @probe("size_of")
        def one_number(impl, rng):
            yield "size", impl.size_of(-float(rng.standard_normal()))

        def half(x):
            return x / 2

        @probe("halves", cases=[3])
        def one_is_there_and_one_can_be_made(impl, rng, size):
            first = rng.standard_normal(size)
            yield from zip("ab", impl.halves(2 * first), strict=True)

        @probe("square_forward", cases=[3])
        def squares(impl, rng, size):
            yield "out", impl.square_forward(rng.standard_normal(size))[0]

        @probe("square_backward", cases=[3])
        def upstream_of_ones(impl, rng, size):
            _, cache = impl.square_forward(rng.standard_normal(size))
            yield "dx", impl.square_backward(np.ones(size), cache)
        """,
    "mistakes": """
        [twice.tripled]
        hint = "that is three times x."
        change = [['2 * x', '3 * x']]
        [twice.tripled_too]
        hint = "x is added once too often."
        change = [['2 * x', 'x + x + x']]
        [size_of.sign_kept]
        hint = "the sign is kept."
        change = [['abs(x)', 'x']]
        """,
    "alternatives": """
        import numpy as np

        def twice(x):
            return x + x

        def direction(x):
            return -x / np.linalg.norm(x)

        class Further:
            def direction(x):
                return x / np.linalg.norm(x)

            def square_forward(x):
                return np.square(x), 2 * x

            def square_backward(dout, cache):
                return cache * dout

        EQUIVALENT = {"twice": {"return 3 * x": "this is wrong", "return 2 / y": "there is no y"}}
        """,
    "oracle": "# twice, direction, noise, size_of, square_forward; a product is mentioned, squares_backwards too\n",
}


@pytest.fixture(scope="module")
def unsound_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a grader that has every kind of fault."""
    return tiny_project(tmp_path_factory.mktemp("unsound"), UNSOUND, **UNSOUND_FILES)


@pytest.fixture(scope="module")
def unsound(unsound_project: Project) -> Audit:
    """Its audit."""
    return audit(unsound_project, SLUG)


def test_mistake_with_the_hint_of_another(unsound):
    assert measured(unsound, "twice").mistakes == {"tripled": "ok", "tripled_too": "shows the hint of `tripled`"}
    assert "42/twice: the mistake `tripled_too`: shows the hint of `tripled`" in unsound.faults


def test_mistake_that_passes_at_some_seeds(unsound):
    found = measured(unsound, "size_of")
    assert found.mistakes == {"sign_kept": "ok"}
    [sentence] = found.unsteady
    assert sentence.startswith("the mistake `sign_kept` passes at the seeds ")
    assert 0 < found.seeds < 20
    assert f"42/size_of: {sentence}" in unsound.faults


def test_narrow_inputs_let_mutants_survive(unsound):
    assert {s["new"] for s in measured(unsound, "product").survivors} >= {"return x / y", "return x ** y"}
    shown = list(details([unsound]))
    place = shown.index("42/product, line 2 of its cell: this mutant survives")
    assert shown[place + 1] == "  - return x * y"
    assert shown[place + 2].startswith("  + return x ")
    assert any(re.fullmatch(r"42/product: \d+ mutants of \d+ survive, and .*", fault) for fault in unsound.faults)


def test_record_of_equivalent_mutants_that_no_longer_holds(unsound):
    assert "42/twice: EQUIVALENT has 'return 3 * x', which fails" in unsound.faults
    assert "42/twice: EQUIVALENT has 'return 2 / y', which is no mutant any more" in unsound.faults


def test_alternative_that_is_refused(unsound):
    found = measured(unsound, "direction").alternatives
    assert found["first"].startswith("`direction` is wrong. Compared: ")
    assert found["Further"] == "ok"
    assert any(fault.startswith("42/direction: the alternative `first`: ") for fault in unsound.faults)


def test_constant_that_is_accepted(unsound):
    found = measured(unsound, "noise").cheats
    assert (found["zeros"], found["ones"], found["NaN"]) == ("earns 2 points",) * 3
    assert found["constant"] == "ok"  # another number of them is drawn
    assert "42/noise: the cheat `zeros`: earns 2 points" in unsound.faults


def test_what_is_right_lies_in_the_grader(unsound):
    assert measured(unsound, "halves").cheats["read from the grader"] == "earns 2 points"
    assert measured(unsound, "twice").cheats["read from the grader"] == "ok"


def test_upstream_of_ones_and_small_cases(unsound):
    found = measured(unsound, "square_backward").cheats
    assert found["upstream ignored"] == "earns 2 points"
    assert found["complex step"] == "earns 2 points"
    assert found["sign flipped"] == "ok"


def test_exercise_without_alternative_or_oracle(unsound):
    assert measured(unsound, "product").alternatives["by hand"] == "there is none"
    assert "42/product: the alternative `by hand`: there is none" in unsound.faults
    assert "42/square_backward: tests/oracles/test_42_tiny.py does not name it" in unsound.faults
    assert not any("42/twice: tests" in fault for fault in unsound.faults)


def test_findings_are_kept_and_fail_the_command(unsound_project, unsound):
    assert read(unsound_project, SLUG) == unsound
    ran = s30("audit", root=ROOT, S30_ROOT=str(unsound_project.root))
    assert ran.returncode == 1
    assert ran.stdout.splitlines()[-1].endswith(f"alternatives: {len(unsound.faults)} faults")
    assert ran.stdout.splitlines()[-1 - len(unsound.faults) : -1] == unsound.faults


# Parts ---------------------------------------------------------------------------------------------------------------


def test_mutants_are_of_code_that_a_grader_can_see():
    definition = dedent('''
        @traced
        def f(x: int | None, *, k: float = 0.5) -> int | float:
            """Uses 1 + 2."""
            if x < k:
                raise ValueError(f"{x + 1} is too small")
            return [x, -k]
        ''').strip()
    found = {(mutant.line, mutant.new) for mutant in mutants(definition)}
    assert (1, "# @traced") in found
    assert (2, "def f(x: int | None, *, k: float = 1.5) -> int | float:") in found
    assert (4, "if x <= k:") in found
    assert (6, "return [x, +k]") in found
    assert {line for line, _ in found} == {1, 2, 4, 6}
    assert not {text for _, text in found if "is k" in text or "&" in text or "/" in text}
    assert len({mutant.source for mutant in mutants(definition)}) == len(mutants(definition))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def f(x):\n    return x\n\ndef g(x):\n    return x\n", "line 4: `g` is no exercise"),
        ("class Further:\n    def g(x):\n        return x\n", "`g` is no exercise"),
        ("class Further:\n    pass\n", "`Further` is no exercise"),
        ("def f(x)\n", "line 1"),
        ("EQUIVALENT = {'g': {'return 1': 'why'}}\n", "`g`, which is no exercise"),
        ("EQUIVALENT = {'f': {'return 1': ''}}\n", "no reason"),
        ("EQUIVALENT = {'f': ['return 1']}\n", "a dict from exercise"),
    ],
)
def test_alternatives_that_can_not_be_understood(tmp_path, text, words):
    path = tmp_path / "alternatives.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=words):
        read_alternatives(path, ["f"])


def test_folder_of_the_report_must_exist(sound, tmp_path):
    ran = s30("audit", "--report", str(tmp_path / "nowhere" / "audit.json"), root=ROOT, S30_ROOT=str(sound.root))
    assert ran.returncode == 1
    assert "its folder does not exist" in ran.stderr


@pytest.mark.skipif(not (ROOT / "autograder" / "audit").is_dir(), reason="no audit is kept")
def test_kept_audits_are_current_and_without_faults():
    project = Project()
    slugs = [slug for slug in project.slugs() if project.source(slug).is_file()]
    assert [slug for slug in slugs if not is_current(project, slug)] == []
    assert [fault for slug in slugs for fault in (read(project, slug) or Audit(slug, {}, [], [])).faults] == []
