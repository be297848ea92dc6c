"""Markdown to HTML as nbconvert makes it, and HTML without what could run or load anything."""

from __future__ import annotations

import html
import re

import nh3
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

_LINK = re.compile(r"(https?://|mailto:|#)", re.IGNORECASE)
_SOURCE = re.compile(
    r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+|https://\S+|[\w. -]+\.(png|jpe?g|gif|webp)"
)
_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_ATTRIBUTES = {
    **nh3.ALLOWED_ATTRIBUTES,
    "a": {"href", "title"},
    "img": {"src", "alt", "title", "width", "height"},
    "details": {"open"},
}


def render(text: str, attached: object) -> str:
    """HTML of some Markdown, with the pictures of its attachments."""
    return str(MarkdownWithMath(_Renderer(attached)).render(text))


def sanitise(page: str) -> str:
    """HTML without scripts, events, frames, forms, styles, and links and pictures from where they should not be."""
    return nh3.clean(
        page,
        attributes=_ATTRIBUTES,
        attribute_filter=_allowed,
        url_schemes={"http", "https", "mailto", "data"},
        clean_content_tags={"script", "style"},
    )


class _Renderer(IPythonRenderer):
    """Renders as nbconvert does, but names a picture that is not attached, for which nbconvert would write no page."""

    def __init__(self, attached: object) -> None:
        super().__init__(escape=False, exclude_anchor_links=True)
        self._attached = attached if isinstance(attached, dict) else {}

    def image(self, text: str, url: str, title: str | None = None) -> str:
        if not url.startswith("attachment:"):
            return str(super().image(text, url, title))
        name = url.removeprefix("attachment:")
        types = self._attached.get(name)
        for known in _TYPES:
            picture = types.get(known) if isinstance(types, dict) else None
            if isinstance(picture, list):  # of lines, which nbformat allows
                picture = "".join(line for line in picture if isinstance(line, str))
            if isinstance(picture, str):
                return str(super().image(text, f"data:{known};base64,{''.join(picture.split())}", title))
        return html.escape(f"[The picture {name} was not handed in.]")


def _allowed(tag: str, attribute: str, value: str) -> str | None:
    """An attribute's value, or None if it has to go."""
    if attribute == "src":
        return value if _SOURCE.fullmatch(value) else None
    if attribute in ("href", "cite"):
        return value if _LINK.match(value) else None
    return value
