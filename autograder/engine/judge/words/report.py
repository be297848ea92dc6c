"""Verdicts as people read them: text for a terminal, HTML for a notebook, JSON for a machine."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from autograder.engine.judge.verdict import Reason, Status, Verdict


# A sign, a word and a colour for each ending: nothing is said by colour alone. Notebooks are light or dark, so only the
# border and the sign are coloured, at a contrast of at least 4 with both grounds; text has the colour of its page.
@dataclass(frozen=True)
class Look:
    """How a status is shown."""

    sign: str
    word: str
    colour: str


_GREEN, _AMBER, _RED, _GREY = "#1f8a5f", "#a87200", "#dc4437", "#767d86"
LOOKS = {
    Status.PASSED: Look("✓", "passed", _GREEN),
    Status.PARTLY: Look("◐", "partly right", _AMBER),
    Status.FAILED: Look("✗", "wrong", _RED),
    Status.ERROR: Look("✗", "error", _RED),
    Status.NOT_ATTEMPTED: Look("○", "not attempted", _GREY),
    Status.MISSING: Look("✗", "missing", _RED),
    Status.BLOCKED: Look("○", "blocked", _GREY),
    Status.FORBIDDEN: Look("✗", "shortcut not allowed", _RED),
    Status.TIMEOUT: Look("✗", "out of time", _RED),
    Status.MEMORY: Look("✗", "out of memory", _RED),
    Status.CRASHED: Look("✗", "crashed", _RED),
}


def number(points: float) -> str:
    """Points without a needless `.0`."""
    return f"{points:.2f}".rstrip("0").rstrip(".")


def title(verdict: Verdict) -> str:
    """`✗ lstm_cell_forward: wrong, 0 of 2 points`."""
    return f"{LOOKS[verdict.status].sign} {_after_sign(verdict)}"


def _after_sign(verdict: Verdict) -> str:
    word = LOOKS[verdict.status].word
    return f"{verdict.name}: {word}, {number(verdict.points)} of {number(verdict.max_points)} points"


def as_text(verdict: Verdict, notes: Iterable[str] = ()) -> str:
    """The verdict for a terminal."""
    lines = [title(verdict)]
    if verdict.status != Status.PASSED:
        lines += verdict.message.splitlines()
    lines += [f"Note: {note}" for note in notes]
    return "\n  ".join(lines)


def as_html(verdict: Verdict, notes: Iterable[str] = ()) -> str:
    """The verdict for a notebook or a feedback page. Everything in it is escaped."""
    look = LOOKS[verdict.status]
    lines = [] if verdict.status == Status.PASSED else [_code(verdict.headline), *map(_reason, verdict.reasons)]
    lines += [_labelled("Note", note) for note in notes]
    rows = "".join(f'<div style="margin-top:0.25em">{line}</div>' for line in lines)
    sign = f'<span style="color:{look.colour}">{look.sign}</span>'
    return (
        f'<div role="status" style="border-left:4px solid {look.colour};padding:0.4em 0.8em;margin:0.3em 0;'
        f'font-family:system-ui,sans-serif;line-height:1.4;overflow-wrap:anywhere">'
        f"<strong>{sign} {html.escape(_after_sign(verdict))}</strong>{rows}</div>"
    )


def _reason(reason: Reason) -> str:
    return _labelled(reason.label, reason.text)


def _labelled(label: str, text: str) -> str:
    return f"<b>{html.escape(label)}:</b> {_code(text)}"


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
