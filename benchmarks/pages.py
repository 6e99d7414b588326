"""Figures in pages, written by the command that the page names beside them."""

from collections.abc import Iterable
from pathlib import Path

__all__ = ["write_figures"]

END = "<!-- end of figures -->"


def write_figures(page: Path, command: str, lines: Iterable[str]) -> None:
    """Put the lines between the marks `<!-- figures: COMMAND -->` and `<!-- end of figures -->` of the page.

    Raises `ValueError` if the page does not have each, in this order.
    """
    begin = f"<!-- figures: {command} -->"
    before, found, rest = page.read_text().partition(begin)
    _, end, after = rest.partition(END)
    if not (found and end):
        raise ValueError(f"{page.name} has no {begin!r} with {END!r} behind it.")
    page.write_text("\n".join((f"{before}{begin}", "", *lines, "", f"{END}{after}")))
