"""Text from outside in HTML and in Markdown: shown as it is, and never obeyed."""

import re
from collections.abc import Iterable

from markupsafe import Markup, escape

from dna_zoo.text import markdown, printable
from explorer.style import THEMES

__all__ = ["as_html", "as_name", "inline_svg", "markdown_row"]

_CODE = re.compile(r"`([^`<>]+)`")
_IDS = re.compile(r'(\bid="|\bxlink:href="#|\bhref="#|url\(#)')


def as_html(text: str) -> Markup:
    """The text, escaped; what would turn the line round is shown as its code, and what is between backticks is code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(printable(text)))))


def as_name(text: str) -> Markup:
    """A name within a sentence: its direction ends where it ends."""
    return Markup("<bdi>{}</bdi>").format(printable(text))


def markdown_row(cells: Iterable[str]) -> str:
    """A row of a table."""
    return "| " + " | ".join(markdown(cell) for cell in cells) + " |"


def inline_svg(svg: str, prefix: str, alt: str) -> Markup:
    """The drawing for a page that has others: its ids under a prefix, its colours those of the page's theme.

    Its letters were escaped when it was drawn.
    """
    head, _, body = svg.partition(">")
    size = re.search(r'viewBox="[^"]*"', head)
    body = _IDS.sub(rf"\g<1>{prefix}-", _themed(re.sub(r"(?s)^\s*<metadata>.*?</metadata>", "", body)))
    opening = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {} role="img"'
        ' aria-label="{}" focusable="false">'
    ).format(Markup(size[0]) if size else "", printable(alt))
    return opening + Markup(body)


def _themed(svg: str) -> str:
    """Light colours as variables of the page."""
    light = THEMES["light"]
    for colour, variable in ((light.ink, "ink"), (light.paper, "paper"), (light.quiet, "quiet")):
        svg = re.sub(rf"(?i)(fill|stroke): {colour}\b", rf"\1: var(--{variable})", svg)
    return svg
