"""Verdicts as people read them: text for a terminal, HTML for a notebook, JSON for a machine."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any

from autograder.engine.judge.grade import Verdict

# A sign, a word and a colour for each ending: nothing is said by colour alone. Notebooks are light or dark, so only the
# border and the sign are coloured, at a contrast of at least 4 with both grounds; text has the colour of its page.
SIGNS = {
    "passed": ("✓", "passed", "#1f8a5f"),
    "partly": ("◐", "partly right", "#a87200"),
    "failed": ("✗", "wrong", "#dc4437"),
    "error": ("✗", "error", "#dc4437"),
    "not_attempted": ("○", "not attempted", "#767d86"),
    "missing": ("✗", "missing", "#dc4437"),
    "blocked": ("○", "blocked", "#767d86"),
    "forbidden": ("✗", "shortcut not allowed", "#dc4437"),
    "timeout": ("✗", "out of time", "#dc4437"),
    "memory": ("✗", "out of memory", "#dc4437"),
    "crashed": ("✗", "crashed", "#dc4437"),
}


def number(points: float) -> str:
    """Points without a needless `.0`."""
    return f"{points:.2f}".rstrip("0").rstrip(".")


def title(verdict: Verdict) -> str:
    """`✗ lstm_cell_forward: wrong, 0 of 2 points`."""
    sign, word, _ = SIGNS[verdict.status]
    return f"{sign} {verdict.name}: {word}, {number(verdict.points)} of {number(verdict.max_points)} points"


def as_text(verdict: Verdict, notes: Iterable[str] = ()) -> str:
    """The verdict for a terminal."""
    lines = [title(verdict)]
    if verdict.status != "passed":
        lines += verdict.message.splitlines()
    lines += [f"Note: {note}" for note in notes]
    return "\n  ".join(lines)


def as_html(verdict: Verdict, notes: Iterable[str] = ()) -> str:
    """The verdict for a notebook or a feedback page. Everything in it is escaped."""
    colour = SIGNS[verdict.status][2]
    sign, words = title(verdict).split(" ", 1)
    lines = [] if verdict.status == "passed" else verdict.message.splitlines()
    rows = "".join(
        f'<div style="margin-top:0.25em">{_line(line)}</div>' for line in [*lines, *map("Note: {}".format, notes)]
    )
    return (
        f'<div role="status" style="border-left:4px solid {colour};padding:0.4em 0.8em;margin:0.3em 0;'
        f'font-family:system-ui,sans-serif;line-height:1.4;overflow-wrap:anywhere">'
        f'<strong><span style="color:{colour}">{sign}</span> {html.escape(words)}</strong>{rows}</div>'
    )


def _line(line: str) -> str:
    label, colon, rest = line.partition(": ")
    known = bool(colon) and re.fullmatch(r"[A-Z][a-z ]{2,20}", label)
    text = f"<b>{html.escape(label)}:</b> {_code(rest)}" if known else _code(line)
    return text


def _code(text: str) -> str:
    """Escaped text with `code` set as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))


def as_report(seed: int, graded: Mapping[str, list[Verdict]], grader: str) -> dict[str, Any]:
    """The JSON report of a run: assignment id → verdicts, summed up."""
    assignments = [
        {"id": slug, **_sum(verdicts), "exercises": [verdict.as_json() for verdict in verdicts]}
        for slug, verdicts in graded.items()
    ]
    everything = [verdict for verdicts in graded.values() for verdict in verdicts]
    return {"grader": grader, "seed": seed, **_sum(everything), "assignments": assignments}


def _sum(verdicts: Iterable[Verdict]) -> dict[str, float]:
    """Points and most points of some verdicts."""
    listed = list(verdicts)
    return {
        "points": round(sum(v.points for v in listed), 6),
        "max_points": round(sum(v.max_points for v in listed), 6),
    }
