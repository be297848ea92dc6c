"""Figures of the notebooks: one look, captions and alt text, nothing said by colour alone."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

# Okabe and Ito's palette, which colour-blind readers can tell apart, each with a line style and a marker of its own.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
LINES = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)), "-"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
MAX_STEPPER = 300_000  # bytes of a stepper's page: a notebook holds it, and is sent by mail


def style() -> None:
    """Set matplotlib's defaults for all figures of a notebook."""
    mpl.rcParams.update(
        {
            "figure.figsize": (6.4, 3.6),
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "axes.prop_cycle": cycler(color=COLOURS),
            "font.size": 10,
            "legend.frameon": False,
            "svg.hashsalt": "s30",
        }
    )


def axes(x: str, y: str, *, yscale: str = "linear", title: str = "") -> tuple[Figure, Axes]:
    """One panel with labelled axes (give the unit in the label)."""
    fig, ax = plt.subplots()
    ax.set(xlabel=x, ylabel=y, yscale=yscale, title=title)
    return fig, ax


def panels(count: int, x: str, y: str) -> tuple[Figure, np.ndarray]:
    """`count` panels side by side that share their axes; the x label under each, the y label once. No grid."""
    fig, found = plt.subplots(1, count, sharex=True, sharey=True, figsize=(3.6 * count, 3.4), squeeze=False)
    for ax in found[0]:
        ax.set_xlabel(x)
        ax.grid(False)
    found[0, 0].set_ylabel(y)
    return fig, found[0]


def band(ax: Axes, x: Any, runs: np.ndarray, label: str, k: int, *, log: bool = False) -> None:
    """Median of several runs as a line, their range as a band.

    Args:
        ax: where.
        x: positions, shape (T,).
        runs: one row per run, shape (R, T).
        label: for the legend.
        k: which colour, line style and marker.
        log: values are positive and drawn on a log axis; zeros are left out.
    """
    x = np.asarray(x)
    runs = np.where(np.asarray(runs) > 0, runs, np.nan) if log else np.asarray(runs)
    k %= len(COLOURS)
    every = max(1, len(x) // 8)
    line: dict[str, Any] = {
        "color": COLOURS[k],
        "linestyle": LINES[k],
        "marker": MARKERS[k],
        "markevery": every,
        "markersize": 4,
    }
    ax.plot(x, np.median(runs, axis=0), label=label, **line)
    ax.fill_between(x, runs.min(axis=0), runs.max(axis=0), color=COLOURS[k], alpha=0.2, linewidth=0)


def diagram(
    boxes: Mapping[str, tuple[float, float, str] | tuple[float, float, str, str]],
    arrows: Sequence[tuple[str, str] | tuple[str, str, str] | tuple[str, str, str, float]],
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    size: tuple[float, float] = (7, 3),
) -> Figure:
    """A schematic of boxes and arrows.

    Args:
        boxes: name → (x, y, text) or (x, y, text, kind), in any unit. The kinds: "step" (what is computed; without
            one), "data" (a tensor: write its shape on a second line), "sum" (a small circle), "note" (no frame).
        arrows: (from, to), (from, to, text on it), or with a bend at the end: how far it swings aside, as a share of
            its length, for what goes around a box (negative: to the left of its way).
        groups: text → names of boxes that a frame holds together, such as "× N".
        size: of the figure, in inches.
    """
    fig, ax = plt.subplots(figsize=size)
    ax.set_axis_off()
    drawn = {}
    for name, (x, y, text, *kind) in boxes.items():
        look = _LOOKS[kind[0] if kind else "step"]
        drawn[name] = ax.text(x, y, text, ha="center", va="center", bbox=look, zorder=3)
    xs, ys = zip(*[box[:2] for box in boxes.values()], strict=True)
    ax.set_xlim(min(xs) - 0.8, max(xs) + 0.8)
    ax.set_ylim(min(ys) - 0.6, max(ys) + 0.6)
    fig.canvas.draw()  # only then is it known where things lie, and how large texts are
    for start, end, *more in arrows:
        said, bend = str(more[0]) if more else "", more[1] if len(more) > 1 and isinstance(more[1], float) else 0.0
        (x, y), (x_too, y_too) = boxes[start][:2], boxes[end][:2]
        ax.annotate(
            "",
            xy=(x_too, y_too),
            xytext=(x, y),
            arrowprops={
                "arrowstyle": "-|>",
                "color": "0.35",
                "connectionstyle": f"arc3,rad={bend}",
                "patchA": drawn[start].get_bbox_patch(),
                "patchB": drawn[end].get_bbox_patch(),
                "shrinkA": 2,
                "shrinkB": 2,
            },
            zorder=4,  # after the boxes: only where these were drawn last is it known where they end
        )
        (left, low), (right, high) = ax.transData.transform([(x, y), (x_too, y_too)])
        middle = (left + right + bend * (high - low)) / 2, (low + high - bend * (right - left)) / 2
        if said:
            at, above = ax.transData.inverted().transform(middle)
            ax.text(at, above, said, ha="center", va="center", size="small", color="0.2", zorder=5, bbox=_BEHIND)
    for said_of, names in (groups or {}).items():
        _frame(ax, [drawn[name] for name in names], said_of)
    return fig


_LOOKS: dict[str, dict[str, Any]] = {
    "step": {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": "0.2"},
    "data": {"boxstyle": "square,pad=0.35", "facecolor": "0.92", "edgecolor": "0.92"},
    "sum": {"boxstyle": "circle,pad=0.2", "facecolor": "white", "edgecolor": "0.2"},
    "note": {"boxstyle": "square,pad=0.1", "facecolor": "none", "edgecolor": "none"},
}
_BEHIND = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}


def _frame(ax: Axes, inside: Sequence[Any], text: str) -> None:
    """Draw a frame around boxes, its text at the upper right corner."""
    extents = [box.get_window_extent().transformed(ax.transData.inverted()) for box in inside]
    room = 0.25
    left, right = min(e.x0 for e in extents) - room, max(e.x1 for e in extents) + room
    low, high = min(e.y0 for e in extents) - room, max(e.y1 for e in extents) + room
    look: dict[str, Any] = {"facecolor": "none", "edgecolor": "0.5", "linestyle": "--", "zorder": 1}
    ax.add_patch(FancyBboxPatch((left, low), right - left, high - low, boxstyle="round,pad=0", **look))
    ax.text(right + 0.08, high, text, ha="left", va="top", color="0.2")


def show(fig: Figure, caption: str, *, alt: str) -> None:
    """Show a figure as a PNG with alt text, its caption below, and close it.

    Args:
        fig: the figure.
        caption: begins with "Figure N."; numbers in it are computed by the caller.
        alt: what a reader who can't see the figure should know.
    """
    from IPython.display import Markdown, display

    picture = {"image/png": _png(fig, bbox_inches="tight"), "text/plain": f"[figure: {alt}]"}
    display(picture, raw=True, metadata={"image/png": {"alt": alt}})
    display(Markdown(f"*{caption}*"))


def _png(fig: Figure, **how: Any) -> bytes:
    """The figure as a PNG without matplotlib's version in it; it is closed."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", metadata={"Software": None}, **how)
    plt.close(fig)
    return buffer.getvalue()


def stepper(frames: Sequence[Figure], captions: Sequence[str], *, alt: str) -> None:
    """Show figures one at a time, moved through with a slider: the arrow keys, no kernel and no network.

    Where a viewer runs no handlers of a notebook that it doesn't trust, all of them stand below one another.

    Args:
        frames: the figures; they are closed. 300 kB at most, all together.
        captions: a sentence for each.
        alt: what all of them show; a reader who can't see them hears it with each caption.

    Raises:
        ValueError: other than one caption per frame, or too much.
    """
    from IPython.display import HTML, display

    if not 0 < len(frames) == len(captions):
        raise ValueError(f"{len(frames)} frames and {len(captions)} captions: each frame needs one.")
    steps = []
    for k, (fig, caption) in enumerate(zip(frames, captions, strict=True)):
        drawn = _png(fig, dpi=80, pil_kwargs={"optimize": True})
        source = f"data:image/png;base64,{base64.b64encode(drawn).decode()}"
        said = html.escape(f"Step {k + 1} of {len(frames)}. {caption}")
        picture = f'<img src="{source}" alt="{html.escape(alt)} {said}">'
        steps.append(f'<div class="step"{" hidden" if k else ""}>{picture}<p><em>{said}</em></p></div>')
    move = "this.parentNode.querySelectorAll('.step').forEach((step, k) => {step.hidden = k != this.value})"
    slider = (
        f'<input type="range" min="0" max="{len(frames) - 1}" value="0" style="width: 20em" aria-label="step" '
        f'oninput="{move}">'
    )
    page = f"<div>{slider}{''.join(steps)}</div>"
    if len(page) > MAX_STEPPER:
        raise ValueError(f"The frames take {len(page):,} bytes, {MAX_STEPPER:,} at most: draw fewer, or smaller ones.")
    display(HTML(page))


def verdict(rows: Mapping[str, tuple[object, object, object]]) -> None:
    """The table that ends a notebook: what was predicted, what was measured, what the paper has.

    Args:
        rows: what is measured → (the prediction, `...` if none was made; the number; the paper's). Numbers are shown to
            three digits, text as it is.
    """
    from IPython.display import Markdown, display

    def said(value: object) -> str:
        if value is ...:
            return "none made"
        return f"{value:.3g}" if isinstance(value, float | np.floating) else str(value)

    lines = ["| | your prediction | your number | the paper's |", "|---|---|---|---|"]
    lines += [f"| {what} | {' | '.join(map(said, numbers))} |" for what, numbers in rows.items()]
    display(Markdown("\n".join(lines)))
