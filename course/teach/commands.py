"""The teacher's commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autograder.engine.inside.errors import UserError
from course.base.commands import Number, Numbers, console, cores
from course.base.project import Project

if TYPE_CHECKING:
    from course.teach.folder import ClassFolder

app = typer.Typer()
CourseDir = Annotated[
    Path | None, typer.Option(help="The class's folder, with submitted/ and gradebook.db. Default: the project's.")
]


def _class(project: Project, course_dir: Path | None) -> ClassFolder:
    # Not at the top: nbgrader takes a second to import, for which `s30 --help` need not wait
    from course.teach.folder import ClassFolder

    folder = (course_dir or project.root).resolve()
    if not folder.is_dir():
        raise UserError(f"--course-dir {folder}: there is no such folder.")
    return ClassFolder.of(project, folder)


@app.command(rich_help_panel="To teach")
def gradebook(
    numbers: Numbers = None,
    course_dir: CourseDir = None,
    roster: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Students too: columns id, first_name, last_name, email.")
    ] = None,
) -> None:
    """Enter the released assignments, and a roster, into a class's gradebook; release/ is only read.

    A file points.toml in the class's folder says what exercises are worth to this class.
    """
    from course.teach.gradebook import register
    from course.teach.roster import enter_roster

    project = Project()
    folder = _class(project, course_dir)
    folder.begin()
    for slug in [project.slug(n) for n in numbers or []] or project.slugs():
        register(project, slug, folder)
        console.print(f"entered {slug} into {folder.shown}", soft_wrap=True)
    if roster is not None:
        console.print(f"entered {enter_roster(roster, folder)} students")


@app.command(rich_help_panel="To teach")
def grade(
    number: Number,
    submissions: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|ZIP", help="Take these in first: nbgrader's layout, or notebooks as an LMS gives them."
        ),
    ] = None,
    course_dir: CourseDir = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Cores to use. Default: all.")] = None,
    regrade: Annotated[
        bool, typer.Option("--regrade", help="Also those recorded by an older grader or at another seed; asks first.")
    ] = False,
    new_seed: Annotated[bool, typer.Option("--new-seed", help="Draw other secret seeds; regrades all.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Record what --regrade changes without asking.")] = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write all of it as JSON.")] = None,
) -> None:
    """Grade a class's submissions in sandboxes, on all cores, and record them through nbgrader.

    May be stopped at any moment: the next run goes on where this one was.
    """
    from course.teach.classroom import Wishes, run

    project = Project()
    wishes = Wishes(submissions, jobs, regrade, new_seed, yes, report)
    going = run(console, project, project.slug(number), _class(project, course_dir), wishes)
    if going.unrecorded:
        raise typer.Exit(1)


@app.command(rich_help_panel="To teach")
def report(
    number: Number,
    course_dir: CourseDir = None,
    out: Annotated[
        Path | None, typer.Option(metavar="PAGE.html", help="Default: reports/SLUG.html in the class's folder.")
    ] = None,
) -> None:
    """Sum a class up: what passed, which mistakes how often, who is blocked where, late or missing; with a page."""
    from course.teach.report import run

    project = Project()
    run(console, project, project.slug(number), _class(project, course_dir), out)


@app.command(rich_help_panel="To teach")
def feedback(
    number: Number,
    course_dir: CourseDir = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FEEDBACK.zip", help="All pages in one zip, named as the LMS wants them.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Cores to use. Default: all.")] = None,
) -> None:
    """Make the students' feedback pages, those that would show something else now, on all cores."""
    from course.teach.feedback import run

    project = Project()
    if run(console, project.slug(number), _class(project, course_dir), out, jobs or cores()):
        raise typer.Exit(1)


@app.command(rich_help_panel="To teach")
def bundle(out: Annotated[Path, typer.Argument(metavar="OUT.zip")]) -> None:
    """Write what students receive: stubs, probes, keys and commands; nothing that holds an answer."""
    from course.teach.bundle import bundle as write

    count = write(Project(), out)
    console.print(f"{count} files in {out}", soft_wrap=True)


@app.command(rich_help_panel="To teach")
def demo() -> None:
    """Grade a small class, from submissions to feedback pages, in a temporary folder."""
    from course.teach.demo import run

    run(Project(), console)
