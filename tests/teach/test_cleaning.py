"""What a student wrote runs nothing where it is shown, and looks as it did."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import nbformat
import pytest
from browsing import CHROMIUM
from hostile import CLICKED, forms, with_forms
from nbconvert.exporters import HTMLExporter
from nbconvert.filters import markdown2html

from course.base.project import Project
from course.teach.cleaning import LEFT_OUT, clean, harmless
from course.teach.demo import SLUG, class_of
from course.teach.reading import read_tree, repair

if TYPE_CHECKING:
    from playwright.sync_api import Page

ANSWER = "why_additive"
RELEASE = Project().release(SLUG)
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
# In this renderer, and as it stands: in others, or once it has been cleaned and rendered again, it may be otherwise
BY_ITSELF_HARMLESS = {"shown_as_code_first", "many_at_once", "an_autolink", "a_frame_from_data", "half_a_tag"}
browsed = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium; .ci/system-packages installs Debian's")


def hostile() -> dict:
    return with_forms(class_of(Project())["ada_complete"], ANSWER)


def cleaned(notebook: dict) -> dict:
    """A notebook as it is recorded."""
    tree, _ = read_tree(json.dumps(notebook).encode(), "submission")
    repair(tree, RELEASE)
    clean(tree, RELEASE)
    return tree


def ran(page: Page, text: str) -> list[str]:
    """What runs in a browser when a page is shown, and all in it is pointed at and clicked."""
    page.route("**", lambda route: route.abort() if route.request.url.startswith("http") else route.continue_())
    page.set_content(text, wait_until="load")
    for found in page.locator(CLICKED).all()[:80]:
        if found.is_visible() and "#" not in (found.get_attribute("href") or ""):
            found.hover(force=True, timeout=2000)
            found.click(force=True, timeout=2000)
    page.wait_for_timeout(300)
    return page.evaluate("() => window.ran || []")


@browsed
@pytest.mark.parametrize("name", forms())
def test_a_form_runs_as_it_was_handed_in_and_not_as_it_is_recorded(page, name):
    if name not in BY_ITSELF_HARMLESS:
        assert ran(page, markdown2html(forms()[name])) != []
    page.goto("about:blank")
    assert ran(page, markdown2html(harmless(forms()[name]))) == []


@browsed
def test_a_whole_notebook_of_forms_runs_nothing(page):
    handed_in = hostile()
    shown = HTMLExporter(template_name="classic").from_notebook_node(nbformat.from_dict(cleaned(handed_in)))[0]
    assert ran(page, shown) == []
    assert page.title() != "another place"


def test_what_is_recorded_has_the_releases_metadata_and_no_raw_text():
    handed_in = hostile()
    handed_in["metadata"] |= {"s30": {"ungraded": "x"}, "title": "<b>", "widgets": {}, "language": 5}
    made = cleaned(handed_in)
    assert made["metadata"] == json.loads(RELEASE.read_bytes())["metadata"]
    assert {cell["cell_type"] for cell in made["cells"]} == {"code", "markdown"}
    assert not [cell for cell in made["cells"] if "<" in cell["id"]]
    nbformat.validate(nbformat.from_dict(made))


@pytest.mark.parametrize(
    "text",
    [
        "The gates stay near 1, so $c_t$ is **added** to, not multiplied.",
        "If a < b and b > c then 3 * 4 = 12; see *Figure 2* and `x < y`.",
        "> a quotation\n\n1. one\n2. two\n\n| a | b |\n|---|---|\n| $x_1$ | 2 |",
        r"$$\frac{\partial c_t}{\partial c_{t-1}} = f_t$$",
        "[x] is not a link, and f[1] is none",
    ],
)
def test_plain_words_stay_as_they_are(text):
    assert harmless(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("See <b>this</b>: $a<b$.", "See <b>this</b>: $a&lt;b$."),
        ("[the paper](https://arxiv.org/abs/1)", 'href="https://arxiv.org/abs/1"'),
        ("```python\nif a < b:\n\n    pass\n```", "<span>pass</span>"),
        ("<details><summary>Why</summary>\n\nSince **it** is.\n\n</details>", "<summary>Why</summary>"),
        ("a &amp; b &lt;script&gt;", "a &amp; b &lt;script&gt;"),
        ("![mine](attachment:mine.png)", f'src="data:image/png;base64,{PIXEL}"'),
        ("![mine](plot.png)", 'src="plot.png"'),
        ("![gone](attachment:gone.png)", "[The picture gone.png was not handed in.]"),
    ],
)
def test_what_is_harmless_is_shown(text, shown):
    made = harmless(text, {"mine.png": {"image/png": PIXEL}})
    assert shown in markdown2html(made)
    assert LEFT_OUT not in made


def test_a_picture_in_lines_is_shown_and_one_of_odd_letters_is_not():
    lines = {"a.png": {"image/png": [f"{PIXEL[:20]}\n", PIXEL[20:]]}}
    assert f'src="data:image/png;base64,{PIXEL}"' in harmless("![mine](attachment:a.png)", lines)
    for odd in ("\0\x1b", '"onerror="x', [5], {"a": 1}, None):
        made = harmless("![mine](attachment:a.png)", {"a.png": {"image/png": odd}})
        assert "src=" not in made


def test_what_is_left_out_is_told():
    assert LEFT_OUT in harmless('Before. <video src="https://a.b/c"></video> After.')
    assert LEFT_OUT in harmless("Before. <script>1</script> After.")


def test_mathjax_makes_no_links_and_no_styles():
    assert harmless(r"$\href{javascript:alert(1)}{x} \style{position:fixed}{y} \displaystyle z$") == (
        r"$\backslash href{javascript:alert(1)}{x} \backslash style{position:fixed}{y} \displaystyle z$"
    )


def test_released_text_stays_to_the_letter():
    released = {c["id"]: "".join(c["source"]) for c in json.loads(RELEASE.read_bytes())["cells"]}
    made = {cell["id"]: cell["source"] for cell in cleaned(json.loads(RELEASE.read_bytes()))["cells"]}
    assert made == released
