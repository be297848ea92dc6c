r"""Formulas as MathML, which a browser shows without a script and without a network.

They are found where MathJax finds them: in text that is no code, between dollars or from ``\begin`` to ``\end``. They
may be a student's. So what is made of one has only elements, attributes and lengths that look like a formula, is of
bounded size, and what can't be converted stays, to be read as it was written.
"""

from __future__ import annotations

import html
import re
from functools import lru_cache
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree.ElementTree import Element, tostring

from latex2mathml.converter import convert_to_element

MAX_FORMULA = 2000  # characters of one formula
MAX_DEPTH = 30  # groups within each other

_FORMULA = re.compile(
    rf"(?<!\\)\$\$(?P<block>(?:[^$]|\\\$){{1,{MAX_FORMULA}}}?)(?<!\\)\$\$"
    rf"|(?<![\\$])\$(?P<inline>[^$]{{1,{MAX_FORMULA}}}?)(?<!\\)\$(?!\$)"
    rf"|(?P<environment>\\begin\{{(?P<name>[a-z]+\*?)\}}.{{1,{MAX_FORMULA}}}?\\end\{{(?P=name)\}})",
    re.DOTALL,
)
_TAG = re.compile(r"\\tag\*?\s*\{([^{}]*)\}")
# A short text can define what becomes a very long one; and the converter loses a row whose last cell is empty
_REFUSED = re.compile(r"\\(new|renew|provide|def|let|Declare)|&\s*\\end")
_ELEMENT = re.compile(
    "math|menclose|mfrac|m[ino]|mover|mpadded|mphantom|mroot|mrow|mspace|msqrt|mstyle|msub|msubsup|msup|mtable|mtd|"
    "mtext|mtr|munder|munderover"
)
_ATTRIBUTE = re.compile(
    "accent|columnalign|depth|display|displaystyle|fence|form|height|largeop|linethickness|lspace|mathsize|mathvariant|"
    "maxsize|minsize|movablelimits|notation|rspace|scriptlevel|separator|stretchy|voffset|width|xmlns"
)
_ROW = re.compile("math|mrow|mtd|mstyle|msqrt|mpadded")  # whose elements stand beside each other
_VALUE = re.compile(r"[a-z][a-z -]{0,40}|[+-]?\d?(\.\d{1,4})?(em|ex|px|pt|mu)?|http://www\.w3\.org/1998/Math/MathML")
_SPACES = {"thinmathspace": "0.167em", "mediummathspace": "0.222em", "thickmathspace": "0.278em"}
_AS_CODE = {"code", "pre", "script", "style", "textarea", "kbd", "samp", "math"}


def with_mathml(page: str) -> str:
    """Some HTML in whose text formulas have become MathML."""
    if "$" not in page and "\\begin" not in page:
        return page
    reader = _Reader()
    reader.feed(page)
    reader.close()
    reader.flush()
    return "".join(reader.made)


@lru_cache(maxsize=4096)
def mathml(formula: str, *, block: bool) -> str | None:
    """A formula as MathML; None if it can't be converted, or if what it becomes could do more than look like one."""
    if len(formula) > MAX_FORMULA or _REFUSED.search(formula) or _depth(formula) > MAX_DEPTH:
        return None
    tag = _TAG.search(formula) if block else None
    text = re.sub(r"\\arg(?![a-zA-Z])", r"\\operatorname{arg}", _TAG.sub("", formula) if tag else formula)
    try:
        made = convert_to_element(text, display="block" if block else "inline")
    except Exception:  # of what it is not made for it has many, IndexError and AttributeError among them
        return None
    if not all(_sound(element) for element in made.iter()):
        return None
    for row in list(made.iter()):
        _set_functions_apart(row)
    shown = tostring(made, encoding="unicode")
    number = f"<span>({html.escape(tag[1])})</span>" if tag else ""
    return f'<span class="equation">{shown}{number}</span>' if block else shown


def _depth(formula: str) -> int:
    """How many groups are open at most, but for some that close in between."""
    deepest = depth = 0
    for opens, closes in re.findall(r"(\{|\\left|\\begin|[_^])|(\}|\\right|\\end)", formula):
        depth = depth + 1 if opens in ("{", "\\left", "\\begin") else max(depth - bool(closes), 0)
        deepest = max(deepest, depth)
    return deepest


def _sound(element: Element) -> bool:
    """Whether an element may stand in a page; its text is made text, and attributes that may not stand there go."""
    width = element.get("width", "")
    if width.removeprefix("negative") in _SPACES:
        element.set("width", ("-" if width.startswith("negative") else "") + _SPACES[width.removeprefix("negative")])
    for name, value in list(element.attrib.items()):
        if not (_ATTRIBUTE.fullmatch(name) and _VALUE.fullmatch(value)):
            del element.attrib[name]
    element.text = re.sub(r"\\([_{}%#&$ ])", r"\1", html.unescape(element.text or ""))
    return bool(_ELEMENT.fullmatch(element.tag)) and "\\" not in element.text


def _set_functions_apart(row: Element) -> None:
    """Put a thin space between `log` and what it is of, where no sign stands between them."""
    if _ROW.fullmatch(row.tag):
        beside = list(row)
        for place, (function, argument) in reversed(list(enumerate(pairwise(beside), 1))):
            base = function[0] if function.tag in ("msub", "msup", "msubsup") else function
            if base.tag == "mi" and len(base.text or "") > 2 and argument.tag not in ("mo", "mspace"):
                row.insert(place, Element("mspace", width=_SPACES["thinmathspace"]))


class _Reader(HTMLParser):
    """Copies HTML piece by piece, but for the formulas in its text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.made: list[str] = []
        self._text: list[str] = []
        self._code: list[str] = []  # the elements round the text in which dollars are dollars

    def flush(self) -> None:
        """Copy the text since the last tag."""
        text = "".join(self._text)
        self._text.clear()
        self.made.append(text if self._code else _FORMULA.sub(_converted, text))

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.handle_startendtag(tag, attrs)
        if tag in _AS_CODE:
            self._code.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.flush()
        self.made.append(self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        self.flush()
        self.made.append(f"</{tag}>")
        if tag in self._code:
            del self._code[self._code.index(tag) :]

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    def handle_entityref(self, name: str) -> None:
        self._text.append(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self._text.append(f"&#{name};")

    def handle_comment(self, data: str) -> None:
        self.flush()
        self.made.append(f"<!--{data}-->")


def _converted(found: re.Match[str]) -> str:
    block = found["inline"] is None
    formula = html.unescape(found["block"] or found["inline"] or found["environment"])
    return mathml(formula.strip(), block=block) or found[0]
