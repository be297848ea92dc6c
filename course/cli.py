"""The command `s30`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from autograder.engine.errors import UserError
from autograder.engine.report import number
from course.project import Project, UnknownAssignment

app = typer.Typer(
    help='The "Sutskever 30" papers as autograded exercises.', no_args_is_help=True, pretty_exceptions_enable=False
)
console = Console()
Numbers = Annotated[list[str] | None, typer.Argument(metavar="[NN]...", help="Assignments, such as 03. Default: all.")]


@app.command("list")
def list_assignments() -> None:
    """Show the assignments, and which of them are started."""
    project = Project()
    table = Table()
    for column in ("", "assignment", "exercises", "points", "your copy"):
        table.add_column(column, justify="right" if column in ("exercises", "points") else "left")
    from course.learn import heading

    for slug in project.slugs():
        assignment = project.assignment(slug)
        copy = project.work(slug)
        started = str(copy.relative_to(project.root)) if copy.exists() else f"s30 start {assignment.number}"
        points = number(assignment.max_points)
        table.add_row(assignment.number, heading(project, slug), str(len(assignment.exercises)), points, started)
    console.print(table)


@app.command()
def start(number: Annotated[str, typer.Argument(metavar="NN")]) -> None:
    """Copy the stub of an assignment to work/. What is there already is never overwritten."""
    from course.learn import start as begin

    project = Project()
    copy = begin(project, project.slug(number))
    console.print(f"Your copy: {copy}\nOpen it with:  jupyter lab {copy}", soft_wrap=True, highlight=False)


@app.command()
def check(numbers: Numbers = None) -> None:
    """Grade your notebooks in work/; the same as `pytest autograder/`."""
    import pytest

    project = Project()
    chosen = [f"--assignment={project.slug(n)}" for n in numbers or []]
    raise typer.Exit(int(pytest.main([str(project.root / "autograder"), f"--rootdir={project.root}", *chosen])))


@app.command()
def build(
    numbers: Numbers = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail if something is out of date.")] = False,
) -> None:
    """Compile masters to release/, solutions/ and autograder/keys/: those named, or all that changed."""
    from course import build as compiler

    project = Project()
    slugs = [project.slug(n) for n in numbers or []] or [s for s in project.slugs() if project.source(s).is_file()]
    if not slugs:
        raise compiler.BuildError(f"{project.root / 'source'} holds no masters.")
    if check:
        found = [line for slug in slugs for line in compiler.stale(project, slug)]
        for line in found:
            print(line, file=sys.stderr)
        if found:
            raise compiler.BuildError("Run `s30 build` and commit what it makes; don't edit compiled files by hand.")
        console.print(f"{len(slugs)} assignments: release/, solutions/ and keys/ are what source/ gives.")
        return
    for slug in slugs:
        if not numbers and compiler.is_current(project, slug):
            continue
        compiler.install(project, compiler.compile_assignment(project, slug))
        console.print(f"compiled {slug}", highlight=False)
    if numbers is None:
        console.print("Everything is up to date.")


@app.command()
def gradebook(
    numbers: Numbers = None,
    course_dir: Annotated[
        Path | None, typer.Option(help="The class's folder, with submitted/ and gradebook.db. Default: the project's.")
    ] = None,
) -> None:
    """Enter the released assignments into a class's gradebook; release/ is only read."""
    from course.build import nbgrader_config, register

    project = Project()
    folder = (course_dir or project.root).resolve()
    if not folder.is_dir():
        raise UnknownAssignment(f"--course-dir {folder}: there is no such folder.")
    for slug in [project.slug(n) for n in numbers or []] or project.slugs():
        register(project, slug, nbgrader_config(project, folder))
        console.print(f"entered {slug} into {folder / 'gradebook.db'}", highlight=False, soft_wrap=True)


@app.command()
def audit(
    numbers: Numbers = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write all of it as JSON.")] = None,
) -> None:
    """Grade the graders named, or all that changed, with mistakes, cheats, mutants and alternatives; show all."""
    from course.audit import run

    project = Project()
    if not run(project, [project.slug(n) for n in numbers or []], console, report):
        raise typer.Exit(1)


@app.command()
def lint(numbers: Numbers = None) -> None:
    """Check masters against the rules that a machine can check."""
    from course.lint import lint as problems_of

    project = Project()
    slugs = [project.slug(n) for n in numbers or []] or project.slugs()
    found = [f"{slug}: {line}" for slug in slugs for line in problems_of(project.source(slug))]
    for line in found:
        print(line)
    if found:
        raise typer.Exit(1)
    console.print(f"{len(slugs)} masters keep the rules.")


@app.command()
def bundle(out: Annotated[Path, typer.Argument(metavar="OUT.zip")]) -> None:
    """Write what students receive: stubs, probes, keys and commands; nothing that holds an answer."""
    from course.bundle import bundle as write

    count = write(Project(), out)
    console.print(f"{count} files in {out}", highlight=False, soft_wrap=True)


@app.command()
def demo() -> None:
    """Grade a small class, from submissions to feedback pages, in a temporary folder."""
    from course.demo import run

    run(Project(), console)


def main() -> None:
    """Run the command; what went wrong is one sentence and a non-zero exit."""
    try:
        app()
    except UserError as problem:
        print(problem, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
