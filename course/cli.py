"""The command `s30`: the commands of the wings that are here. A student's copy has the learner's alone."""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys

import typer

from autograder.engine.inside.errors import UserError

WINGS = ("learn", "teach", "make")
app = typer.Typer(
    help='The "Sutskever 30" papers as autograded exercises.', no_args_is_help=True, pretty_exceptions_enable=False
)
for _wing in WINGS:
    if importlib.util.find_spec(f"course.{_wing}"):
        app.add_typer(importlib.import_module(f"course.{_wing}.commands").app)


def main() -> None:
    """Run the command; what went wrong is one sentence and a non-zero exit."""
    # jsonschema, which comes with nbgrader, compiles a grammar of web addresses when it is imported, and does without
    # where there is none. Nothing here has a web address to check, and it takes longer than all of nbgrader.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
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
