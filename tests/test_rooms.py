"""Every room imports only what lies below it, so that anyone can guess from a file's place what it may import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

# Room → the rooms that it may import, beside itself. The longest name that a module begins with is its room.
ENGINE = ("autograder.engine.probes", "autograder.engine.inside", "autograder.engine.assignment")
TRUSTED = (*ENGINE, "autograder.engine.border", "autograder.engine.judge")
BELOW_WINGS = (*TRUSTED, "course.base")
MAY: dict[str, tuple[str, ...]] = {
    "autograder": (),
    "autograder.engine": (),
    "autograder.engine.probes": (),
    "autograder.engine.inside": ("autograder.engine.probes",),
    "autograder.engine.assignment": ENGINE[:2],
    "autograder.engine.border": ENGINE,
    "autograder.engine.judge": (*ENGINE, "autograder.engine.border"),
    "autograder.graders": ("autograder.engine.probes",),
    "autograder.alternatives": (),
    "autograder.conftest": ("course.learn",),
    "course": BELOW_WINGS,  # what notebooks import
    "course.data": (),
    "course.gradcheck": (),
    "course.plots": (),
    "course.base": TRUSTED,
    "course.learn": BELOW_WINGS,
    "course.teach": BELOW_WINGS,
    "course.make": BELOW_WINGS,
    "course.cli": ("autograder.engine.inside",),  # and the wings, by name
}


def room_of(module: str) -> str:
    """The room of a module."""
    return max((room for room in MAY if module == room or module.startswith(f"{room}.")), key=len)


def imports(source: str, module: str) -> Iterator[str]:
    """The modules of ours that a module imports, also inside functions and for its types only."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [item.name for item in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports by a relative name"
            names = [f"{node.module}.{item.name}" for item in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in ("autograder", "course"))


def strangers(source: str, module: str) -> list[str]:
    """What a module imports and may not."""
    room = room_of(module)
    return [name for name in imports(source, module) if room_of(name) not in (room, *MAY[room])]


def modules() -> dict[str, Path]:
    """Every module of ours, by name."""
    found = {}
    for folder in ("autograder", "course"):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_module_imports_only_what_lies_below_it(module):
    assert strangers(modules()[module].read_text(encoding="utf-8"), module) == []


PLANTED = {
    "a wing another wing": ("course.teach.gradebook", "from course.make.build import compile_assignment"),
    "a wing another wing, late": ("course.make.lint", "def f():\n    from course.learn import start"),
    "base a wing": ("course.base.project", "import course.learn.progress"),
    "the engine the course": ("autograder.engine.judge.grade", "from course.base.project import Project"),
    "inside the judge": ("autograder.engine.inside.observe", "from autograder.engine.judge.compare import compare"),
    "inside an assignment": ("autograder.engine.inside.load", "from autograder.engine.assignment import Assignment"),
    "the border the judge": ("autograder.engine.border.runner", "import autograder.engine.judge.keys"),
    "a grader the judge": ("autograder.graders.test_03", "from autograder.engine.judge.compare import compare"),
    "an experiment the judge": ("course.data", "from autograder.engine.judge.keys import expect"),
}


@pytest.mark.parametrize(("module", "source"), PLANTED.values(), ids=PLANTED)
def test_a_wrong_import_is_noticed(module, source):
    assert len(strangers(source, module)) == 1


def test_nothing_in_the_house_is_without_a_room():
    assert {room_of(module) for module in modules()} == set(MAY)
