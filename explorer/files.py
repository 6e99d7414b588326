"""Figures as files: the drawing, its numbers as CSV, its words as JSON; a rerun gives the same bytes."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.style import WIDTHS, ThemeName, drawing, save_figure
from explorer.view import View
from pipeline.stages import content_key

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["as_csv", "as_svg", "file_name", "write_figure"]

Plot = Callable[[Any], "Axes"]
LONGEST = 80


def write_figure(
    view: View, plot: Plot, path: Path, *, theme: ThemeName = "light", width: float = WIDTHS["screen"]
) -> None:
    """The figure at `path` (PNG, PDF or SVG by its suffix), and beside it `.csv` and `.json` of the same name."""
    import matplotlib.pyplot as plt

    with drawing(theme, width):
        figure = plot(view).get_figure(root=True)
        assert figure is not None, "What a plot returns is on a figure."
        save_figure(figure, path)
        plt.close(figure)
    path.with_suffix(".csv").write_text(as_csv(view))
    path.with_suffix(".json").write_text(json.dumps(view.words(), indent=1, ensure_ascii=False) + "\n")


def as_csv(view: View) -> str:
    """All numbers that are drawn."""
    return view.table().to_csv(index=False, lineterminator="\n")


def as_svg(view: View, plot: Plot, *, width: float = WIDTHS["screen"]) -> str:
    """The `svg` element alone, in the light theme's colours."""
    import matplotlib.pyplot as plt

    kept = io.StringIO()
    with drawing("light", width):
        import matplotlib

        matplotlib.rcParams["savefig.dpi"] = 150  # Of what is made of pixels: the rest has no resolution.
        figure = plot(view).get_figure(root=True)
        assert figure is not None, "What a plot returns is on a figure."
        figure.savefig(kept, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    text = kept.getvalue()
    return text[text.index("<svg") :]


def file_name(*parts: str) -> str:
    """A name for a file of these parts, which come from outside: letters, digits, dots, dashes.

    What had to be replaced or cut leaves a hash, so that no two names become one.
    """
    joined = "-".join(parts)
    safe = "".join(each if each.isascii() and (each.isalnum() or each in "._-") else "-" for each in joined)
    safe = safe.lstrip(".")[:LONGEST]
    return joined if safe == joined else f"{safe}-{content_key(joined)[:8]}"
