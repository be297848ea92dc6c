"""The command `s30`. What it prints for learners is in :mod:`course.show`."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from autograder.engine.assignment import Exercise
from autograder.engine.errors import UserError
from course.project import Project, UnknownAssignment
from course.show import console as make_console

app = typer.Typer(
    help='The "Sutskever 30" papers as autograded exercises.', no_args_is_help=True, pretty_exceptions_enable=False
)
console = make_console()
Numbers = Annotated[list[str] | None, typer.Argument(metavar="[NN]...", help="Assignments, such as 03. Default: all.")]
Number = Annotated[str, typer.Argument(metavar="NN", help="An assignment, such as 03.")]
OneOrAll = Annotated[str | None, typer.Argument(metavar="[NN]", help="An assignment, such as 03.")]
Name = Annotated[str, typer.Argument(metavar="EXERCISE", help="The name of its function or class.")]
OneOrAllNames = Annotated[str | None, typer.Argument(metavar="[EXERCISE]", help="The name of its function or class.")]
CourseDir = Annotated[
    Path | None, typer.Option(help="The class's folder, with submitted/ and gradebook.db. Default: the project's.")
]

LEARN, TEACH, MAKE = "To learn", "To teach", "To change the course"


class UnknownExercise(UserError):
    """No such exercise; the message lists those that there are."""


def _exercise(project: Project, slug: str, name: str) -> Exercise:
    try:
        return project.assignment(slug).exercise(name)
    except KeyError as problem:
        raise UnknownExercise(problem.args[0]) from None


def _class_folder(project: Project, course_dir: Path | None) -> Path:
    folder = (course_dir or project.root).resolve()
    if not folder.is_dir():
        raise UnknownAssignment(f"--course-dir {folder}: there is no such folder.")
    return folder


def _started(project: Project, number: str) -> str:
    slug = project.slug(number)
    if not project.work(slug).is_file():
        raise UnknownAssignment(f"{slug} is not started: s30 start {slug[:2]}")
    return slug


def _nothing_open(project: Project) -> str:
    from course.progress import to_start

    paper = to_start(project)
    return f"Nothing is open. Begin with: s30 start {paper.number} ({paper.title})" if paper else "All is solved."


@app.command("list", rich_help_panel=LEARN)
def list_assignments() -> None:
    """Show the assignments by track, and how far you are."""
    from course import show

    show.catalog_tables(console, Project())


@app.command(rich_help_panel=LEARN)
def start(number: Number) -> None:
    """Copy the stub of an assignment to work/. What is there already is never overwritten."""
    from course.learn import start as begin

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


@app.command(rich_help_panel=LEARN)
def check(number: OneOrAll = None, exercise: OneOrAllNames = None) -> None:
    """Grade your notebooks in work/, one of them, or one exercise; the same as `pytest autograder/`."""
    import pytest

    project = Project()
    where, chosen = str(project.root / "autograder"), []
    if number is not None:
        slug = project.slug(number)
        chosen = [f"--assignment={slug}"]
        if exercise is not None:
            where = f"{project.grader(slug)}::{_exercise(project, slug, exercise).name}"
    raise typer.Exit(int(pytest.main([where, f"--rootdir={project.root}", *chosen])))


@app.command(rich_help_panel=LEARN)
def watch(number: OneOrAll = None) -> None:
    """Check the exercise that you are on every time you save your notebook."""
    from course import show
    from course.progress import Progress, current
    from course.watch import watch as look

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


@app.command(rich_help_panel=LEARN)
def progress(number: OneOrAll = None) -> None:
    """Show how far you are: all that you have started, or the exercises of one assignment."""
    from course import show
    from course.progress import progress as standing

    project = Project()
    slugs = [_started(project, number)] if number else project.slugs()
    found = [one for slug in slugs if (one := standing(project, slug)) is not None]
    if not found:
        console.print(_nothing_open(project))
    show.overview(console, project, found)
    if number:
        show.exercises(console, found[0])


@app.command("next", rich_help_panel=LEARN)
def next_exercise() -> None:
    """Say what to do next: the open exercise of the notebook you saved last, or the assignment to begin."""
    from course import show
    from course.progress import current

    project = Project()
    found = current(project)
    if found is None:
        console.print(_nothing_open(project))
    else:
        show.coming(console, project, found)


@app.command(rich_help_panel=LEARN)
def hint(
    number: Number,
    exercise: Name,
    level: Annotated[int, typer.Option(help="1 is a nudge, the last shows the structure of the code.")] = 1,
) -> None:
    """Show a hint for an exercise: the folded ones of the notebook, one level at a time."""
    from course import show
    from course.learn import hints

    project = Project()
    slug = project.slug(number)
    name = _exercise(project, slug, exercise).name
    found = hints(project, slug, name)
    if not 1 <= level <= len(found):
        raise UnknownExercise(f"`{name}` has {len(found)} hints: --level 1 to {len(found)}.")
    show.hint(console, found[level - 1], level, len(found), f"s30 hint {slug[:2]} {name}")


_RELOAD = "If it is open in Jupyter: File → Reload Notebook from Disk."


@app.command(rich_help_panel=LEARN)
def reset(number: Number, exercise: OneOrAllNames = None) -> None:
    """Put the stub back, of an exercise or of a whole notebook. A copy of yours is kept."""
    from course import learn

    project = Project()
    slug = project.slug(number)
    if exercise is None:
        kept = learn.reset(project, slug)
    else:
        kept = learn.reset_exercise(project, slug, _exercise(project, slug, exercise))
    what = f"`{exercise}` is" if exercise else f"{slug} is"
    console.print(f"{what} the stub again. Your version is kept: {kept}\n{_RELOAD}", soft_wrap=True, markup=False)


if Path(__file__).with_name("reveal.py").is_file():  # the students' copy is without it

    @app.command(rich_help_panel=LEARN)
    def reveal(number: Number, exercise: Name) -> None:
        """Put the course's solution of an exercise into your notebook, marked as revealed. A copy of yours is kept."""
        from course.reveal import reveal as put_in

        project = Project()
        slug = project.slug(number)
        chosen = _exercise(project, slug, exercise)
        kept = put_in(project, slug, chosen)
        console.print(
            f"`{chosen.name}` holds the course's solution now; it earns no points in `s30 progress`.\n"
            f"Your version is kept: {kept}\n{_RELOAD}",
            soft_wrap=True,
            markup=False,
        )


@app.command(rich_help_panel=LEARN)
def doctor() -> None:
    """Say what of this machine works for the course, and what to do about the rest."""
    from course import show
    from course.doctor import examine

    broken = 0
    for found in examine(Project()):
        show.finding(console, found)
        broken += found.state == "broken"
    if broken:
        raise typer.Exit(1)


@app.command(rich_help_panel=MAKE)
def build(
    numbers: Numbers = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail if something is out of date.")] = False,
) -> None:
    """Compile masters to release/, solutions/ and autograder/keys/: those named, or all that changed."""
    from course import build as compiler
    from course.catalog import PAGE, new_page

    project = Project()
    slugs = [project.slug(n) for n in numbers or []] or [s for s in project.slugs() if project.source(s).is_file()]
    if not slugs:
        raise compiler.BuildError(f"{project.root / 'source'} holds no masters.")
    if check:
        found = [line for slug in slugs for line in compiler.stale(project, slug)]
        found += [] if new_page(project) is None else [f"{PAGE} is not what course/catalog.toml gives"]
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
        console.print(f"compiled {slug}")
    if (page := new_page(project)) is not None:
        (project.root / PAGE).write_text(page, encoding="utf-8")
        console.print(f"compiled {PAGE}")
    if numbers is None:
        console.print("Everything is up to date.")


@app.command(rich_help_panel=TEACH)
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
    from course.gradebook import enter_roster, register

    project = Project()
    folder = _class_folder(project, course_dir)
    for slug in [project.slug(n) for n in numbers or []] or project.slugs():
        register(project, slug, folder)
        console.print(f"entered {slug} into {folder / 'gradebook.db'}", soft_wrap=True)
    if roster is not None:
        console.print(f"entered {enter_roster(roster, folder)} students")


@app.command(rich_help_panel=MAKE)
def audit(
    numbers: Numbers = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write all of it as JSON.")] = None,
) -> None:
    """Grade the graders named, or all that changed, with mistakes, cheats, mutants and alternatives; show all."""
    from course.audit import run

    project = Project()
    if not run(project, [project.slug(n) for n in numbers or []], console, report):
        raise typer.Exit(1)


@app.command(rich_help_panel=MAKE)
def lint(
    numbers: Numbers = None,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="First write what a master's text implies: ids, nbgrader's metadata, no outputs."),
    ] = False,
) -> None:
    """Check masters against the rules that a machine can check."""
    from course.fix import fixed
    from course.learn import write_whole
    from course.lint import lint as problems_of

    project = Project()
    slugs = [project.slug(n) for n in numbers or []] or project.slugs()
    for master in map(project.source, slugs if fix else ()):
        write_whole(master, fixed(master).encode())
    found = [f"{slug}: {line}" for slug in slugs for line in problems_of(project.source(slug))]
    for line in found:
        print(line)
    if found:
        raise typer.Exit(1)
    console.print(f"{len(slugs)} masters keep the rules.")


@app.command(rich_help_panel=TEACH)
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
    new_seed: Annotated[bool, typer.Option("--new-seed", help="Draw another secret seed; regrades all.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Record what --regrade changes without asking.")] = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write all of it as JSON.")] = None,
) -> None:
    """Grade a class's submissions in sandboxes, on all cores, and record them through nbgrader.

    May be stopped at any moment: the next run goes on where this one was.
    """
    from course.classroom import Wishes, run

    project = Project()
    wishes = Wishes(submissions, jobs, regrade, new_seed, yes, report)
    run(console, project, project.slug(number), _class_folder(project, course_dir), wishes)


@app.command(rich_help_panel=TEACH)
def bundle(out: Annotated[Path, typer.Argument(metavar="OUT.zip")]) -> None:
    """Write what students receive: stubs, probes, keys and commands; nothing that holds an answer."""
    from course.bundle import bundle as write

    count = write(Project(), out)
    console.print(f"{count} files in {out}", soft_wrap=True)


@app.command(rich_help_panel=TEACH)
def demo() -> None:
    """Grade a small class, from submissions to feedback pages, in a temporary folder."""
    from course.demo import run

    run(Project(), console)


def main() -> None:
    """Run the command; what went wrong is one sentence and a non-zero exit."""
    for stream in (sys.stdout, sys.stderr):  # a terminal without these signs shows another one
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
    except UserError as problem:
        print(problem, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
