"""How figures look: colours, widths, themes, and how they are written so that a rerun gives the same bytes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from dna_zoo.errors import DnaZooError, SettingsError

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

__all__ = [
    "ACCENT",
    "FORMATS",
    "MARKERS",
    "NULL",
    "OKABE_ITO",
    "SEQUENTIAL",
    "THEMES",
    "WIDTHS",
    "Theme",
    "ThemeName",
    "colour_of",
    "diverging",
    "drawing",
    "marker_of",
    "require_format",
    "require_libraries",
    "save_figure",
    "theme_of",
    "width_of",
]

ThemeName = Literal["light", "dark"]

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#8C6BB1")
"""Of Okabe and Ito (2008), told apart by all common kinds of colour vision; black, which a dark page swallows, is
replaced by a violet."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""A shape goes with each colour, so that no reader depends on colour alone."""
ACCENT = OKABE_ITO[0]
"""What was measured."""
NULL = "#8A8A8A"
"""The null, in every figure."""
SEQUENTIAL = "cividis"
"""Magnitudes."""
FORMATS = (".png", ".pdf", ".svg")
DPI = 300
HASH_SALT = "dna-zoo"

WIDTHS: Mapping[str, float] = {
    "icml": 3.25, "icml-double": 6.75, "neurips": 5.5, "iclr": 5.5, "cvpr": 3.25, "cvpr-double": 6.875, "tmlr": 6.5,
    "nature-single": 89 / 25.4, "nature-double": 183 / 25.4, "screen": 8.0,
}  # fmt: skip
"""Name -> width of a figure in inches, as those venues print it."""
SMALLEST = 6.0
"""Points of the smallest letters; Nature asks for 5 to 7."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """Colours that a figure and a page share."""

    name: ThemeName
    paper: str
    """Background."""
    ink: str
    """Letters and axes."""
    quiet: str
    """Grids and frames."""


THEMES: Mapping[str, Theme] = {
    "light": Theme(name="light", paper="#FFFFFF", ink="#1F1F1F", quiet="#D9D9D9"),
    "dark": Theme(name="dark", paper="#14171A", ink="#E8E8E8", quiet="#3A3F44"),
}


def require_libraries(*names: str) -> None:
    """Raises `DnaZooError` where a library of the extra `see` is not installed."""
    for name in names:
        try:
            import_module(name)
        except ImportError as error:
            raise DnaZooError(
                f"Pictures need {name}, which is not installed.", hint="Install it with `pip install 'dna-zoo[see]'`."
            ) from error


def width_of(name: str) -> float:
    """Inches of a named width. Raises `SettingsError` for a name that is not in `WIDTHS`."""
    if name not in WIDTHS:
        raise SettingsError(f"There is no width {name!r}.", hint=f"Choose one of: {', '.join(WIDTHS)}.")
    return WIDTHS[name]


def theme_of(name: str) -> Theme:
    """Raises `SettingsError` for a name that is not in `THEMES`."""
    if name not in THEMES:
        raise SettingsError(f"There is no theme {name!r}.", hint=f"Choose one of: {', '.join(THEMES)}.")
    return THEMES[name]


def colour_of(position: int) -> str:
    """The colour of the category at that position; they repeat, and `marker_of` keeps them apart."""
    return OKABE_ITO[position % len(OKABE_ITO)]


def marker_of(position: int) -> str:
    """The marker of the category at that position: where colours begin again, the shape is another."""
    return MARKERS[(position + position // len(OKABE_ITO)) % len(MARKERS)]


def diverging(*, on_paper: bool = False) -> "Colormap":
    """Signed values: symmetric about zero, in equal steps of lightness (vik of Crameri 2018).

    - `on_paper`: for points that lie on the paper itself: on dark paper zero is dark, and what is far from it bright
      (berlin).
    """
    from cmcrameri import cm
    from matplotlib import rcParams

    is_dark = on_paper and rcParams["figure.facecolor"] == THEMES["dark"].paper
    found: Colormap = cm.berlin if is_dark else cm.vik
    return found


@contextmanager
def drawing(
    theme: ThemeName = "light", width: float = WIDTHS["screen"], *, backend: str | None = "agg"
) -> Iterator[Theme]:
    """matplotlib's settings for a figure of that many inches of width; they are as before after the block.

    - `backend`: files need no other. None leaves it as it is: a notebook has one of its own, which must stay.
    """
    require_libraries("matplotlib", "cmcrameri")
    import matplotlib

    chosen = theme_of(theme)
    size = max(SMALLEST, 8.0 if width > 4 else 7.0)
    with matplotlib.rc_context():
        kept = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
        matplotlib.rcParams.update(cast(Any, kept))
        if backend is not None:
            matplotlib.use(backend)
        matplotlib.rcParams.update(cast(Any, _settings(chosen, size)))
        matplotlib.rcParams["figure.figsize"] = (width, 0.62 * width)
        yield chosen


def _settings(theme: Theme, size: float) -> dict[str, Any]:
    ink = dict.fromkeys(("axes.labelcolor", "text.color", "xtick.color", "ytick.color", "axes.edgecolor"), theme.ink)
    paper = dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), theme.paper)
    letters = {f"{name}.labelsize": size - 1 for name in ("xtick", "ytick")} | {"legend.fontsize": size - 1}
    return ink | paper | letters | {
        "font.family": "DejaVu Sans",
        "font.size": size,
        "axes.titlesize": size + 1,
        "axes.labelsize": size,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.prop_cycle": _cycle(),
        "grid.color": theme.quiet,
        "grid.linewidth": 0.4,
        "legend.frameon": False,
        "lines.linewidth": 1.1,
        "image.cmap": SEQUENTIAL,
        "image.interpolation": "nearest",
        "figure.dpi": 100,
        "savefig.dpi": DPI,
        "figure.constrained_layout.use": True,
        "pdf.fonttype": 42,
        "svg.fonttype": "none",
        "svg.hashsalt": HASH_SALT,
    }  # fmt: skip


def _cycle() -> Any:
    from cycler import cycler

    return cycler(color=OKABE_ITO)


def require_format(path: Path) -> None:
    """Raises `SettingsError` for a suffix that no figure is written as."""
    if path.suffix not in FORMATS:
        raise SettingsError(
            f"A figure cannot be written as {path.suffix or 'a file without a suffix'!r}.",
            hint=f"Name a file that ends in one of {', '.join(FORMATS)}.",
        )


def save_figure(figure: "Figure", path: Path, *, dpi: int = DPI) -> None:
    """Write a PNG, PDF or SVG by the suffix of the path; the same figure gives the same bytes, without dates.

    - `dpi`: dots an inch, of a PNG and of what is a picture in the others.

    Raises `SettingsError` for another suffix.
    """
    require_format(path)
    metadata: dict[str, dict[str, None]] = {
        ".png": {"Software": None},
        ".pdf": {"Creator": None, "Producer": None, "CreationDate": None},
        ".svg": {"Date": None, "Creator": None},
    }
    figure.savefig(path, metadata=metadata[path.suffix], dpi=dpi)
