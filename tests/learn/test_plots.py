"""What `course.plots` adds to matplotlib: pictures to step through, and the table that ends a notebook."""

import io

import numpy as np
import pytest
from matplotlib import pyplot as plt

from course import plots


@pytest.fixture
def displayed(monkeypatch) -> list:
    """What has been displayed."""
    found: list = []
    monkeypatch.setattr("IPython.display.display", found.append)
    return found


def drawn(count: int, size: float = 2.0) -> list:
    """Figures, each with another line."""
    frames = []
    for k in range(count):
        fig, ax = plt.subplots(figsize=(size, size))
        ax.plot([0, k], [1, 2])
        frames.append(fig)
    return frames


def test_a_stepper_shows_one_frame_and_says_what_all_show(displayed):
    plots.stepper(drawn(3), ["First.", "Then a < b.", "Last."], alt="A line")
    [shown] = displayed
    page = shown.data
    assert page.count("<img ") == page.count("data:image/png;base64,") == 3
    assert page.count(" hidden>") == 2
    assert 'alt="A line Step 2 of 3. Then a &lt; b."' in page
    assert 'type="range" min="0" max="2"' in page
    assert "<script" not in page
    assert "http" not in page
    assert not plt.get_fignums()


@pytest.mark.parametrize(("frames", "captions"), [(2, 1), (0, 0)])
def test_each_frame_needs_a_caption(frames, captions):
    with pytest.raises(ValueError, match="each frame needs one"):
        plots.stepper(drawn(frames), ["Said."] * captions, alt="A line")
    plt.close("all")


def test_a_stepper_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(plots, "MAX_STEPPER", 1000)
    with pytest.raises(ValueError, match="1,000 at most"):
        plots.stepper(drawn(2), ["One.", "Two."], alt="A line")


def test_the_closing_table_has_prediction_number_and_paper(displayed):
    plots.verdict({"test error": (0.25, 0.123456, "6.4 %"), "layers": (..., 42, 110)})
    [shown] = displayed
    assert shown.data.splitlines()[2:] == [
        "| test error | 0.25 | 0.123 | 6.4 % |",
        "| layers | none made | 42 | 110 |",
    ]


BLOCK = {"x": (0, 0, "x", "data"), "F": (2, 0, "F"), "sum": (4, 0, "+", "sum"), "why": (2, 1, "it learns F", "note")}


def test_a_schematic_has_arrows_with_words_and_frames():
    fig = plots.diagram(
        BLOCK, [("x", "F"), ("F", "sum", "F(x)"), ("x", "sum", "x", -0.3)], groups={"× 3": ["F", "sum"]}
    )
    ax = fig.axes[0]
    texts = {text.get_text(): text.get_position() for text in ax.texts}
    assert {"x", "F", "+", "it learns F", "F(x)", "× 3"} <= texts.keys()
    [bent] = [text for text in ax.texts if text.get_text() == "x" and text.get_position() != (0, 0)]
    assert 1.5 < bent.get_position()[0] < 2.5
    assert bent.get_position()[1] > 0.1  # on the arc, above the boxes
    [frame] = ax.patches
    assert frame.get_x() < 2 < 4 < frame.get_x() + frame.get_width()
    plt.close("all")


def test_an_arrow_ends_before_the_box_in_the_picture_that_is_shown():
    fig = plots.diagram({"x": (0, 1, "   "), "y": (0, 0, "   ")}, [("x", "y")])
    grey = plt.imread(io.BytesIO(plots._png(fig, bbox_inches="tight")))[..., 0]
    dark = grey < 0.6
    [middle] = {int(np.median(np.flatnonzero(row))) for row in dark[len(dark) // 2 - 1 : len(dark) // 2]}
    ends = np.flatnonzero(np.diff(dark[:, middle].astype(int)))  # each box has two edges, the arrow is between them
    assert len(ends) == 10
    before, after = ends[4] - ends[3], ends[6] - ends[5]
    assert 1 <= before <= 6
    assert abs(before - after) <= 1


def test_a_box_of_no_kind_that_there_is_is_an_error():
    with pytest.raises(KeyError, match="circle"):
        plots.diagram({"x": (0, 0, "x", "circle")}, [])
    plt.close("all")
