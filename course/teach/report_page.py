"""How a class stands, as one HTML page: pictures, tables and names; no script, nothing from a network, fit to print.

Everything on it is escaped by Jinja and markupsafe. Pictures are SVG with text as text; what a colour says, a pattern,
a sign and a number say too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from math import ceil, floor

from jinja2 import Environment
from markupsafe import Markup, escape

from autograder.engine.judge.verdict import Status
from autograder.engine.judge.words.report import LOOKS, number
from course.teach import report
from course.teach.report import cells, names, percent, signed
from course.teach.statistics import FEWEST, STOPPED, Item, Standing

WIDTH = 760  # of pictures, in pixels: a printed page's


@dataclass(frozen=True)
class Kind:
    """Endings of an exercise that the page shows as one."""

    sign: str
    word: str
    colour: str
    pattern: str  # of the bars: an SVG path in a tile of 8 by 8
    statuses: tuple[Status, ...]


# Okabe and Ito's palette, as in the notebooks' figures.
KINDS = (
    Kind("✓", "passed", "#009E73", "", (Status.PASSED,)),
    Kind("◐", "partly right", "#E69F00", "M0 2H8M0 6H8", (Status.PARTLY,)),
    Kind(
        *("✗", "wrong", "#D55E00", "M0 8L8 0M-2 2L2 -2M6 10L10 6"),
        (Status.FAILED, Status.ERROR, Status.MISSING, Status.FORBIDDEN),
    ),
    Kind("!", "out of time or memory, or crashed", "#CC79A7", "M0 0L8 8M0 8L8 0", STOPPED),
    Kind("↑", "blocked by another", "#0072B2", "M2 2h2v2h-2z", (Status.BLOCKED,)),
    Kind("○", "not attempted", "#767d86", "", (Status.NOT_ATTEMPTED,)),
)
_KIND_OF = {status: kind for kind in KINDS for status in kind.statuses}


def page(found: Standing, now: datetime | None = None) -> str:
    """The page; `now` is when it says it was written."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["code"] = _code
    return environment.from_string(_PAGE).render(
        found=found,
        written=f"{now or datetime.now():%Y-%m-%d %H:%M}",
        people=report.people(found),
        why=report.why,
        totals=report.totals(found),
        pictures=[_totals(found), _endings(found)],
        mistakes=report.mistakes(found),
        failures=report.failures(found),
        ranked=sorted(found.graded, key=lambda s: -sum(p or 0.0 for p in s.scores.parts.values())),
        checks=[item for item in found.items if item.judged],
        kind_of=_KIND_OF,
        kinds=KINDS,
        looks=LOOKS,
        fewest=FEWEST,
        cells=cells,
        names=names,
        number=number,
        percent=percent,
    )


def _code(text: str) -> Markup:
    """Text in which backticks hold code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))


# Pictures -----------------------------------------------------------------------------------------------------------


def _tag(name: str, *inside: str, **attributes: object) -> Markup:
    """An element, with everything in it escaped that is no Markup; `_` in the name of an attribute is `-`."""
    given = (Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _short(v)) for key, v in attributes.items())
    return Markup("<{0}{1}>{2}</{0}>").format(name, Markup("").join(given), Markup("").join(inside))


def _short(value: object) -> object:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


def _text(x: float, y: float, said: str, anchor: str = "middle", **attributes: object) -> Markup:
    return _tag("text", said, x=x, y=y, text_anchor=anchor, **attributes)


def _line(x1: float, y1: float, x2: float, y2: float, **attributes: object) -> Markup:
    return _tag("line", x1=x1, y1=y1, x2=x2, y2=y2, **{"stroke": "#222", **attributes})


def _picture(height: float, alt: str, *inside: Markup) -> Markup:
    return _tag("svg", *inside, viewBox=f"0 0 {WIDTH} {height:.0f}", role="img", aria_label=alt)


def _totals(found: Standing) -> Markup:
    """How many students have how many points: bars, and below them the median and the middle half."""
    values, most = found.totals.values, max(found.totals.most, found.totals.values[-1], 1.0)
    step = next(s for s in (*(1, 2, 5, 10, 20, 50, 100, 200, 500), ceil(most)) if most / s <= 16)
    counts = [0] * (floor(most / step) + 1)
    for value in values:
        counts[floor(value / step + 1e-9)] += 1
    left, right, top, base = 52.0, WIDTH - 20.0, 26.0, 190.0
    wide, high = (right - left) / len(counts), (base - top) / max(counts)

    half = 0.5 if all(value == int(value) for value in values) else 0.0

    def at(value: float) -> float:  # whole points lie in the middle of their own place in a bar
        return left + wide * (value + half) / step

    drawn = []
    for k, count in enumerate(counts):
        x, y = left + k * wide, base - count * high
        if count:
            drawn.append(_tag("rect", x=x + 1, y=y, width=wide - 2, height=base - y, fill="#56B4E9", stroke="#0072B2"))
            drawn.append(_text(x + wide / 2, y - 5, str(count)))
        label = str(k) if step == 1 else f"{k * step}–{min((k + 1) * step - 1, ceil(most))}"
        drawn.append(_text(x + wide / 2, base + 16, label if k * step < most or step == 1 else number(k * step)))
    low, middle, high_ = found.totals.quartiles
    y = base + 42
    drawn.append(_line(left, base, right, base))
    drawn.append(_line(at(values[0]), y, at(values[-1]), y))
    drawn.append(
        _tag("rect", x=at(low), y=y - 8, width=max(at(high_) - at(low), 1.0), height=16, fill="#fff", stroke="#222")
    )
    drawn.append(_line(at(middle), y - 12, at(middle), y + 12, stroke_width=3))
    said = f"median {number(middle)}, middle half {number(low)} to {number(high_)}"
    room = 4.0 * len(said)
    drawn.append(_text(min(max(at(middle), left + room), right - room), y + 28, said))
    drawn.append(_text((left + right) / 2, y + 50, "points" if found.complete else "points of the checks"))
    middle_of_axis = (top + base) / 2
    drawn.append(_text(18, middle_of_axis, "students", transform=f"rotate(-90 18 {middle_of_axis:.0f})"))
    shape = ", ".join(f"{count} from {k * step}" for k, count in enumerate(counts) if count)
    return _picture(y + 58, f"Histogram of totals. {report.totals(found)} Students by points: {shape}.", *drawn)


def _endings(found: Standing) -> Markup:
    """How each exercise ended: bars in parts; beside them the item-rest correlation as a dot."""
    items = [item for item in found.items if item.judged]
    left = 20 + 7.4 * max(len(item.part.name) for item in items)
    right, low, high = WIDTH - 250.0, WIDTH - 190.0, WIDTH - 50.0
    top, row, tall = 30.0, 28.0, 20.0
    drawn = [
        _patterns(),
        _text((left + right) / 2, 16, "how it ended: share of submissions"),
        _text((low + high) / 2, 16, "r (item-rest correlation)"),
    ]
    zero, bottom = (low + high) / 2, top + row * len(items)
    for value, x in ((-1, low), (0, zero), (1, high)):
        drawn.append(_line(x, top, x, bottom, stroke="#999", stroke_dasharray="2 3"))
        drawn.append(_text(x, bottom + 14, str(value).replace("-", "−")))
    for share in (0, 25, 50, 75, 100):
        drawn.append(_text(left + (right - left) * share / 100, bottom + 14, f"{share} %"))
    for k, item in enumerate(items):
        y = top + k * row
        drawn.append(_text(left - 8, y + 15, item.part.name, "end", class_="name"))
        x = left
        for number_, kind in enumerate(KINDS):
            count = _count(item, kind)
            if not count:
                continue
            wide = (right - left) * count / item.judged
            drawn.append(_bar(x, y, wide, tall, number_))
            said = f"{kind.sign} {count}" if wide >= 34 else str(count) if wide >= 14 else ""
            drawn.append(_text(x + wide / 2, y + 15, said, class_="on"))
            x += wide
        if item.correlation is not None:
            drawn.append(_tag("circle", cx=zero + (high - zero) * item.correlation, cy=y + 10, r=5, fill="#222"))
        drawn.append(_text(WIDTH - 6, y + 15, signed(item.correlation), "end"))
    x, y = 20.0, bottom + 32
    for number_, kind in enumerate(KINDS):
        said = f"{kind.sign} {kind.word}"
        if x + 34 + 6.8 * len(said) > WIDTH:
            x, y = 20.0, y + 22
        drawn.append(_bar(x, y, 22, 14, number_))
        drawn.append(_text(x + 28, y + 12, said, "start"))
        x += 46 + 6.8 * len(said)
    told = "; ".join(
        f"{item.part.name}: "
        + ", ".join(f"{_count(item, kind)} {kind.word}" for kind in KINDS if _count(item, kind))
        + f", r {signed(item.correlation)}"
        for item in items
    )
    return _picture(y + 24, f"How each exercise ended, and its item-rest correlation r. {told}.", *drawn)


def _count(item: Item, kind: Kind) -> int:
    return sum(item.statuses.get(status, 0) for status in kind.statuses)


def _bar(x: float, y: float, wide: float, tall: float, kind: int) -> Markup:
    return _tag("rect", x=x, y=y, width=wide, height=tall, fill=f"url(#kind{kind})", stroke=KINDS[kind].colour)


def _patterns() -> Markup:
    """What fills the bars: light, so that text on it can be read, and each with lines of its own."""
    tiles = []
    for k, kind in enumerate(KINDS):
        ground = "#fff" if kind.statuses == (Status.NOT_ATTEMPTED,) else kind.colour
        inside = [_tag("rect", width=8, height=8, fill=ground, fill_opacity="0.3")]
        if kind.pattern:
            inside.append(_tag("path", d=kind.pattern, fill="none", stroke=kind.colour, stroke_opacity="0.7"))
        tiles.append(_tag("pattern", *inside, id=f"kind{k}", width=8, height=8, patternUnits="userSpaceOnUse"))
    return _tag("defs", *tiles)


_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ found.slug }}: how the class stands</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 800px; margin: 2em auto;
  padding: 0 1em; overflow-wrap: break-word; }
.who { overflow-wrap: anywhere; min-width: 8em; }
h1 { font-size: 1.5em; margin-bottom: 0; } h2 { font-size: 1.15em; margin: 2em 0 0.4em; break-after: avoid; }
.when, .note { color: #555; margin: 0.2em 0 1em; } .note { font-size: 0.9em; }
.counts { display: flex; flex-wrap: wrap; gap: 0.6em; padding: 0; list-style: none; }
.counts li { border: 1px solid #bbb; border-radius: 4px; padding: 0.2em 0.8em; }
.counts b { display: block; font-size: 1.5em; line-height: 1.3; }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; break-inside: avoid; }
svg .name { font: 12px monospace; } svg .on { paint-order: stroke; stroke: #fff; stroke-width: 3px; }
table { border-collapse: collapse; width: 100%; font-size: 0.9em; margin-top: 0.6em; }
th, td { border-bottom: 1px solid #ddd; padding: 0.25em 0.5em; text-align: left; vertical-align: top; }
th { border-bottom-color: #222; } tr { break-inside: avoid; } .n { text-align: right; white-space: nowrap; }
code, .name { font-family: monospace; font-size: 0.95em; }
.all { width: auto; } .all td { text-align: center; padding: 0.1em 0.3em; } .all td:first-child { text-align: left; }
.all th { vertical-align: bottom; text-align: left; } .all th.e { writing-mode: vertical-rl; transform: rotate(180deg);
  border: 0; font: 12px monospace; padding: 0.4em 0.1em; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } }
</style>
</head>
<body>
<h1>{{ found.slug }}: how the class stands</h1>
<p class="when">Written {{ written }}, from what was recorded.</p>
<ul class="counts">
<li><b>{{ found.students | length }}</b>students</li>
{% for word, students in people %}
<li><b>{{ students | length }}</b>{{ word }}</li>
{% endfor %}
</ul>

<h2>Totals</h2>
<p>{{ totals }}</p>
{{ pictures[0] }}

<h2>Exercises</h2>
{{ pictures[1] }}
<table>
<tr><th>exercise</th><th class="n">points</th><th class="n">passed</th><th class="n">mean</th><th class="n">spread</th>
<th class="n">r</th><th class="n">n</th><th class="n">not attempted</th><th class="n">blocked</th>
<th class="n">stopped</th></tr>
{% for item in found.items %}
<tr><td class="name">{{ item.part.name }}</td>
{% for cell in cells(item) %}<td class="n">{{ cell }}</td>{% endfor %}
</tr>
{% endfor %}
</table>
<p class="note">Passed: by the checks, of those with a verdict. Mean and spread (standard deviation): of the share of
the points, as in the gradebook, where a human's points count, over n students. r: item-rest correlation, of that share
with the sum of the other exercises' points; near 0, an exercise does not tell who can do the rest from who can't.
{% if found.graded | length < fewest %}It takes {{ fewest }} graded submissions.
{% else %}– where it is not defined, as where all students have the same.{% endif %}</p>

{% if mistakes %}
<h2>Known mistakes</h2>
<table>
<tr><th class="n">of all</th><th>what</th><th>where</th><th>who</th></tr>
{% for item, said, students in mistakes %}
<tr><td class="n">{{ percent(students | length / item.judged) }} ({{ students | length }})</td>
<td>{{ said | code }}</td><td class="name">{{ item.part.name }}</td><td class="who">{{ names(students) }}</td></tr>
{% endfor %}
</table>
{% endif %}

{% if failures %}
<h2>Other failures</h2>
<table>
<tr><th class="n">of all</th><th>what the check said first</th><th>where</th><th>how it ended</th></tr>
{% for item, status, said, count in failures %}
<tr><td class="n">{{ percent(count / item.judged) }} ({{ count }})</td><td>{{ said | code }}</td>
<td class="name">{{ item.part.name }}</td><td>{{ looks[status].sign }} {{ looks[status].word }}</td></tr>
{% endfor %}
</table>
{% endif %}

{% if found.blockers %}
<h2>Who is blocked where</h2>
<table>
<tr><th>not right yet</th><th>who</th><th>what can't be judged for it</th></tr>
{% for name, those in found.blockers %}{% for student, held in those %}
<tr><td class="name">{{ name if loop.first }}</td><td class="who">{{ student.shown }}</td>
<td class="name">{{ held | join(", ") }}</td></tr>
{% endfor %}{% endfor %}
</table>
{% endif %}

<h2>Everybody's exercises</h2>
<table class="all">
<tr><th>student</th><th class="n">points</th>
{% for item in checks %}<th class="e">{{ item.part.name }}</th>{% endfor %}
</tr>
{% for student in ranked %}
<tr><td class="who">{{ student.shown }}</td><td>{{ number(student.scores.parts.values() | select | sum) }}</td>
{% for item in checks %}{% set verdict = student.verdicts.get(item.part.name) %}
<td title="{{ looks[verdict.status].word if verdict }}">{{ kind_of[verdict.status].sign if verdict }}</td>
{% endfor %}
</tr>
{% endfor %}
</table>
<p class="note">{% for kind in kinds %}{{ kind.sign }} {{ kind.word }}{{ "" if loop.last else " · " }}{% endfor %}.
Points as far as there are some, without penalties.</p>

{% for word, students in people[2:] if students %}
<h2>{{ word | capitalize }}</h2>
<ul>
{% for student in students %}<li>{{ student.shown }}{{ why(found, student, word) }}</li>
{% endfor %}
</ul>
{% endfor %}
</body>
</html>
"""
