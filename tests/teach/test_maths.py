"""Formulas become MathML, whoever wrote them, or stay as they were written."""

import json
import re
import time
import xml.etree.ElementTree as ET

import pytest
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from course.base.project import Project
from course.teach.maths import mathml, with_mathml

MATHML = "{http://www.w3.org/1998/Math/MathML}"


def words(shown: str) -> str:
    """The text of what is shown."""
    return "".join(ET.fromstring(f"<p>{shown}</p>").itertext())


@pytest.mark.parametrize("slug", Project().slugs())
def test_every_formula_of_the_course_is_converted(slug):
    count = 0

    class Counting(IPythonRenderer):
        def image(self, *_: object, **__: object) -> str:
            return ""

        def inline_math(self, body: str) -> str:
            nonlocal count
            count += 1
            return super().inline_math(body)

        def block_math(self, body: str) -> str:
            nonlocal count
            count += 1
            return super().block_math(body)

    for cell in json.loads(Project().release(slug).read_bytes())["cells"]:
        if cell["cell_type"] == "markdown":
            before = count
            page = with_mathml(MarkdownWithMath(Counting(escape=False)).render("".join(cell["source"])))
            assert page.count("<math ") == count - before, cell["id"]
    assert count


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("$x_t$", "xt"),
        (r"so $a &lt; b$, and $b &gt; c$", "so a<b, and b>c"),
        (r"$$y = \tfrac{1}{2} \tag{3}$$", "y=12(3)"),
        (r"\begin{pmatrix} 1 &amp; 0 \\ 0 &amp; 1 \end{pmatrix}", "(1001)"),
        (r"$\text{stage\_forward}$", "stage_forward"),
        (r"$\arg\max_i p_i$", "argmaxipi"),
        (r"$5 and \$6", r"$5 and \$6"),
        ("<code>$HOME</code> and <pre>$x$</pre>", "$HOME and $x$"),
        ('<i title="$x$">$y$</i>', "y"),
    ],
)
def test_formulas_are_found_in_text_alone(text, shown):
    assert words(with_mathml(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        r"$\newcommand{\a}{xx}\a$",
        r"$\def\a{xx}\a$",
        r"$\nosuchcommand{x}$",
        r"$x_1_2$",
        r"$\left( x$",
        r"$\begin{pmatrix} 1 &amp; 2 \\ 3 &amp; \end{pmatrix}$",
        f"${'{' * 60}x{'}' * 60}$",
        f"${'x' * 3000}$",
    ],
)
def test_what_cannot_be_converted_stays_as_it_was_written(text):
    assert with_mathml(text) == text


@pytest.mark.parametrize(
    "formula",
    [
        r"\text{<img src=x onerror=run()>}",
        r"\text{&lt;script&gt;}",
        r"\href{javascript:run()}{x}",
        r"\class{btn}{x} \style{position:fixed}{y} \cssId{top}{z}",
        r"\unicode{60}script\unicode{62}",
        r"\rule{9999em}{9999em} \hspace{9999em} \kern 9999em x",
        r"\color{url(https://example.org)}{x}",
    ],
)
def test_a_formula_is_nothing_but_a_formula(formula):
    made = mathml(formula, block=False)
    if made is not None:
        for element in ET.fromstring(made).iter():
            assert element.tag.startswith(MATHML)
            assert not {"href", "src", "style", "class", "id"} & set(element.attrib)
            assert not re.search(r"\d{2}|url", "".join(element.attrib.values()).replace("0.", ""))


def test_no_text_takes_long_or_becomes_long():
    start = time.monotonic()
    for text in ("$" * 30000, r"\begin{a}" * 3000, "$a$" * 10000, "$" + "^" * 1500 + "$", "$" + r"\frac" * 400 + "$"):
        assert len(with_mathml(text)) < 100 * len(text)
    assert time.monotonic() - start < 30
