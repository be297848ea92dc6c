"""The learner's commands. What they print is in :mod:`course.learn.show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autograder.engine.inside.errors import UserError
from course.base.commands import Name, Number, OneOrAll, OneOrAllNames, console, exercise_of
from course.base.project import Project

app = typer.Typer()


def _started(project: Project, number: str) -> str:
    slug = project.slug(number)
    if not project.work(slug).is_file():
        raise UserError(f"{slug} is not started: s30 start {slug[:2]}")
    return slug


def _nothing_open(project: Project) -> str:
    from course.learn.progress import to_start

    paper = to_start(project)
    return f"Nothing is open. Begin with: s30 start {paper.number} ({paper.title})" if paper else "All is solved."


@app.command("list", rich_help_panel="To learn")
def list_assignments() -> None:
    """Show the assignments by track, and how far you are."""
    from course.learn import show

    show.catalog_tables(console, Project())


@app.command(rich_help_panel="To learn")
def start(number: Number) -> None:
    """Copy the stub of an assignment to work/. What is there already is never overwritten."""
    from course.learn.start import start as begin

    project = Project()
    slug = project.slug(number)
    copy = begin(project, slug)
    if copy == project.work(slug):
        console.print(f"Your copy: {copy}\nOpen it with:  jupyter lab {copy}", soft_wrap=True, markup=False)
        return
    console.print(
        f"Your notebook is from an older version of the course, and stays as it is: {project.work(slug)}\n"
        f"The new version, with your answers in it, is beside it: {copy}\n"
        "Solve what is open there; to go on with it, rename yours, and give the new one its name.",
        soft_wrap=True,
        markup=False,
    )


@app.command(rich_help_panel="To learn")
def check(number: OneOrAll = None, exercise: OneOrAllNames = None) -> None:
    """Grade your notebooks in work/, one of them, or one exercise; the same as `pytest autograder/`."""
    import pytest

    project = Project()
    where, chosen = str(project.root / "autograder"), []
    if number is not None:
        slug = project.slug(number)
        chosen = [f"--assignment={slug}"]
        if exercise is not None:
            where = f"{project.grader(slug)}::{exercise_of(project, slug, exercise).name}"
    raise typer.Exit(int(pytest.main([where, f"--rootdir={project.root}", *chosen])))


@app.command(rich_help_panel="To learn")
def watch(number: OneOrAll = None) -> None:
    """Check the exercise that you are on every time you save your notebook."""
    from course.learn import show
    from course.learn.progress import Progress, current
    from course.learn.watch import watch as look

    project = Project()
    slug = _started(project, number) if number else None
    if slug is None:
        found = current(project)
        if found is None:
            console.print(_nothing_open(project))
            return
        slug = found.assignment.slug
    console.print(f"Watching {project.work(slug)}; Ctrl+C ends it.", soft_wrap=True, markup=False)
    try:
        for seen in look(project, slug):
            console.print()
            if isinstance(seen, Progress):
                show.coming(console, project, seen)
            else:
                show.explanation(console, seen)
    except KeyboardInterrupt:
        console.print()


@app.command(rich_help_panel="To learn")
def progress(number: OneOrAll = None) -> None:
    """Show how far you are: all that you have started, or the exercises of one assignment."""
    from course.learn import show
    from course.learn.progress import progress as standing

    project = Project()
    slugs = [_started(project, number)] if number else project.slugs()
    found = [one for slug in slugs if (one := standing(project, slug)) is not None]
    if not found:
        console.print(_nothing_open(project))
    show.overview(console, project, found)
    if number:
        show.exercises(console, found[0])


@app.command("next", rich_help_panel="To learn")
def nextexercise_of() -> None:
    """Say what to do next: the open exercise of the notebook you saved last, or the assignment to begin."""
    from course.learn import show
    from course.learn.progress import current

    project = Project()
    found = current(project)
    if found is None:
        console.print(_nothing_open(project))
    else:
        show.coming(console, project, found)


@app.command(rich_help_panel="To learn")
def hint(
    number: Number,
    exercise: Name,
    level: Annotated[int, typer.Option(help="1 is a nudge, the last shows the structure of the code.")] = 1,
) -> None:
    """Show a hint for an exercise: the folded ones of the notebook, one level at a time."""
    from course.learn import show
    from course.learn.hints import hints

    project = Project()
    slug = project.slug(number)
    name = exercise_of(project, slug, exercise).name
    found = hints(project, slug, name)
    if not 1 <= level <= len(found):
        raise UserError(f"`{name}` has {len(found)} hints: --level 1 to {len(found)}.")
    show.hint(console, found[level - 1], level, len(found), f"s30 hint {slug[:2]} {name}")


_RELOAD = "If it is open in Jupyter: File → Reload Notebook from Disk."


@app.command(rich_help_panel="To learn")
def reset(number: Number, exercise: OneOrAllNames = None) -> None:
    """Put the stub back, of an exercise or of a whole notebook. A copy of yours is kept."""
    from course.learn import reset as again

    project = Project()
    slug = project.slug(number)
    if exercise is None:
        kept = again.reset(project, slug)
    else:
        kept = again.reset_exercise(project, slug, exercise_of(project, slug, exercise))
    what = f"`{exercise}` is" if exercise else f"{slug} is"
    console.print(f"{what} the stub again. Your version is kept: {kept}\n{_RELOAD}", soft_wrap=True, markup=False)


if Path(__file__).with_name("reveal.py").is_file():  # the students' copy is without it

    @app.command(rich_help_panel="To learn")
    def reveal(number: Number, exercise: Name) -> None:
        """Put the course's solution of an exercise into your notebook, marked as revealed. A copy of yours is kept."""
        from course.learn.reveal import reveal as put_in

        project = Project()
        slug = project.slug(number)
        chosen = exercise_of(project, slug, exercise)
        kept = put_in(project, slug, chosen)
        console.print(
            f"`{chosen.name}` holds the course's solution now; it earns no points in `s30 progress`.\n"
            f"Your version is kept: {kept}\n{_RELOAD}",
            soft_wrap=True,
            markup=False,
        )


@app.command(rich_help_panel="To learn")
def doctor() -> None:
    """Say what of this machine works for the course, and what to do about the rest."""
    from course.learn import show
    from course.learn.doctor import examine

    broken = 0
    for found in examine(Project()):
        show.finding(console, found)
        broken += found.state == "broken"
    if broken:
        raise typer.Exit(1)
