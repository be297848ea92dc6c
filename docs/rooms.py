"""Draws docs/rooms.png: the rooms of the house and who may import whom, as tests/test_rooms.py asserts it.

Run it after a change of that table: `python docs/rooms.py`.
"""

import sys
from pathlib import Path

from matplotlib import pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from test_rooms import MAY  # noqa: E402

from course import plots  # noqa: E402

ENGINE = "autograder.engine."
PLACES = {  # room → where it stands, and what it says
    "course.learn": (0.0, 3.0, "course/learn\nstart, check, hint,\nprogress, reset"),
    "course.teach": (2.6, 3.0, "course/teach\ngradebook, grade,\nbundle, demo"),
    "course.make": (5.2, 3.0, "course/make\nbuild, lint, audit"),
    "course": (7.8, 3.0, "course/*.py\nwhat notebooks\nimport"),
    "autograder.graders": (0.0, 1.6, "graders/\nthe probes of\none assignment"),
    "course.base": (5.2, 1.6, "course/base\nproject, catalog, results,\nfiles, nbgrader"),
    ENGINE + "probes": (0.0, 0.0, "engine/probes\nwhat graders\nimport"),
    ENGINE + "inside": (2.0, 0.0, "engine/inside\nruns beside\nforeign code"),
    ENGINE + "assignment": (4.0, 0.0, "engine/assignment\nexercises, as\nreleased"),
    ENGINE + "border": (6.0, 0.0, "engine/border\nstarts children,\nbelieves nothing"),
    ENGINE + "judge": (8.0, 0.0, "engine/judge\ncompares, explains,\ngives points"),
}


def arrows() -> list[tuple[str, str]]:
    """From each room to those that it may import, but for those that are reached through another."""
    below = {room: {other for other in MAY[room] if other in PLACES and other != room} for room in PLACES}

    def reached(room: str) -> set[str]:
        return below[room].union(*(reached(other) for other in below[room]))

    return [
        (room, other)
        for room, others in below.items()
        for other in sorted(others)
        if not any(other in reached(third) for third in others - {other})
    ]


def main() -> None:
    """Draw the picture."""
    plots.style()
    fig = plots.diagram(PLACES, arrows(), size=(9.6, 4.4))
    fig.savefig(ROOT / "docs" / "rooms.png", dpi=110, metadata={"Software": None})
    plt.close(fig)


if __name__ == "__main__":
    main()
