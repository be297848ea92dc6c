"""The author's commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from course.base.commands import Numbers, console
from course.base.files import write_whole
from course.base.project import Project

app = typer.Typer()


@app.command(rich_help_panel="To change the course")
def build(
    numbers: Numbers = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail if something is out of date.")] = False,
) -> None:
    """Compile masters to release/, solutions/ and autograder/keys/: those named, or all that are out of date.

    Solutions are executed if they are named, or if their master, their grader or what notebooks import (the modules of
    course/) has changed. Where only other code has, a solution that says what it said keeps its outputs.
    """
    from course.make import build as compiler
    from course.make.catalog_page import PAGE, new_page

    project = Project()
    slugs = [project.slug(n) for n in numbers or []] or [s for s in project.slugs() if project.source(s).is_file()]
    if not slugs:
        raise compiler.BuildError(f"{project.root / 'source'} holds no masters.")
    found: list[str] = []
    rounded: list[str] = []
    if check:
        for built in compiler.compile_all(project, slugs, each=compiler.SAMPLE):
            if isinstance(built, compiler.BuildError):
                found.append(str(built))
                continue
            stale, other = compiler.differences(project, built)
            found, rounded = [*found, *stale], [*rounded, *other]
        found += [] if new_page(project) is None else [f"{PAGE} is not what course/base/catalog.toml gives"]
        for line in sorted(rounded):
            console.print(line, soft_wrap=True)
        for line in sorted(found):
            print(line, file=sys.stderr)
        if found:
            raise compiler.BuildError("Run `s30 build` and commit what it makes; don't edit compiled files by hand.")
        console.print(f"{len(slugs)} assignments: release/, solutions/ and keys/ are what source/ gives.")
        return
    wanted = slugs if numbers else [slug for slug in slugs if not compiler.is_current(project, slug)]
    for built in compiler.compile_all(project, wanted, lambda b: bool(numbers) or compiler.needs_execution(project, b)):
        if isinstance(built, compiler.BuildError):
            found.append(str(built))
            continue
        compiler.install(project, built)
        console.print(f"compiled {built.slug}")
    if (page := new_page(project)) is not None:
        write_whole(project.root / PAGE, page)
        console.print(f"compiled {PAGE}")
    if found:
        raise compiler.BuildError("\n".join(found))
    if numbers is None:
        console.print("Everything is up to date.")


@app.command(rich_help_panel="To change the course")
def audit(
    numbers: Numbers = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write all of it as JSON.")] = None,
) -> None:
    """Grade the graders named, or all that changed, with mistakes, cheats, mutants and alternatives; show all.

    At twenty seeds; but at three of them where nothing of a grader's own has changed since, only the engine.
    """
    from course.make.audit import run

    project = Project()
    if not run(project, [project.slug(n) for n in numbers or []], console, report):
        raise typer.Exit(1)


@app.command(rich_help_panel="To change the course")
def lint(
    numbers: Numbers = None,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="First write what a master's text implies: ids, nbgrader's metadata, no outputs."),
    ] = False,
) -> None:
    """Check masters against the rules that a machine can check."""
    from course.make.fix import fixed
    from course.make.lint import lint as problems_of
    from course.make.lint import lint_files

    project = Project()
    slugs = [project.slug(n) for n in numbers or []] or project.slugs()
    for master in map(project.source, slugs if fix else ()):
        write_whole(master, fixed(master))
    found = [
        f"{slug}: {line}" for slug in slugs for line in [*problems_of(project.source(slug)), *lint_files(project, slug)]
    ]
    for line in found:
        print(line)
    if found:
        raise typer.Exit(1)
    console.print(f"{len(slugs)} masters keep the rules.")
