"""From a kind of figure and some models to files: the picture, its numbers as CSV, its words as JSON."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dna_zoo.errors import DnaZooError, NotMinedError, OutputError, SettingsError, did_you_mean
from dna_zoo.files import whole_file
from explorer.file_names import default_name, file_name
from explorer.kinds import KINDS, FigureKind, find_kind
from explorer.panels import figure_of
from explorer.source import Source
from explorer.style import DPI, ThemeName, drawing, require_format, require_libraries, save_figure, theme_of, width_of
from explorer.view import View
from patterndb.exports.files import as_csv

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Look",
    "Plotted",
    "default_tensor",
    "draw",
    "file_of",
    "make_view",
    "plot_all",
    "plotted",
    "require_free",
    "write_view",
]

FEWEST = 16
"""Rows and columns of the matrix that is drawn where none is named: a smaller one shows little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How figures are to look."""

    width: str = "icml"
    theme: ThemeName = "light"
    dpi: int = DPI

    def __post_init__(self) -> None:
        width_of(self.width)
        theme_of(self.theme)
        if not 10 <= self.dpi <= 2400:
            raise SettingsError(f"`dpi` is {self.dpi}.", hint="Give a number from 10 to 2,400.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plotted:
    """One figure of many: its file, or why there is none."""

    kind: str
    models: tuple[str, ...]
    path: Path
    view: View | None = None
    error: DnaZooError | None = None


def make_view(
    source: Source, kind: str, models: Sequence[str] = (), *, tensor: str | None = None, **settings: Any
) -> View:
    """The numbers of a figure.

    - `models`: one for kinds about a tensor or a model; any for kinds about several, none for all of them.
    - `tensor`: by name; where a kind needs one and none is named, `default_tensor`.
    - `settings`: what else the kind takes, such as `seed` or `by`.

    Raises `SettingsError` for what does not go together, and what the kind's view raises.
    """
    found = find_kind(kind)
    _check(found, models, tensor, settings)
    if found.subject == "tensor":
        return found.view(source, models[0], tensor or default_tensor(source, models[0]), **settings)
    if found.subject == "model":
        return found.view(source, models[0], **settings)
    return found.view(source, tuple(models), **settings)


def _check(kind: FigureKind, models: Sequence[str], tensor: str | None, settings: dict[str, Any]) -> None:
    if kind.subject in ("tensor", "model") and len(models) != 1:
        named = "none is" if not models else f"{len(models)} are"
        raise SettingsError(f"{kind.name!r} is about one model, and {named} named.", hint="Name one mined model.")
    if tensor is not None and kind.subject != "tensor":
        raise SettingsError(f"{kind.name!r} is not about one tensor.", hint="Leave `tensor` out.")
    known = list(signature(kind.view).parameters)
    for name in settings:
        if name not in known:
            raise SettingsError(f"{kind.name!r} takes no {name!r}.", hint=did_you_mean(name, known) or "Leave it out.")


def default_tensor(source: Source, model: str) -> str:
    """The matrix in which the DNA found most structure beyond its null; not one with very few rows or columns.

    Raises `NotMinedError`, and `DnaFileError` where nothing was fitted.
    """
    fitted = [tensor for tensor in source.pattern(model).tensors if tensor.fit is not None]
    large = [tensor for tensor in fitted if min(tensor.rows, tensor.cols) >= FEWEST] or fitted
    if not large:
        return next(iter(source.dna(model)))  # Raises: nothing was fitted.
    gains = {tensor.name: tensor.fit.gain_beyond_means for tensor in large if tensor.fit is not None}
    return max(gains, key=lambda name: (-math.inf if gains[name] is None else gains[name], name))


def draw(view: View, *, axes: "Axes | None" = None) -> "Axes":
    """The view on the axes, or on those of a new figure; in matplotlib's present settings."""
    drawn: Axes = find_kind(view.kind).plot(view, axes=axes)
    return drawn


def file_of(kind: str, models: Sequence[str], suffix: str = ".png") -> Path:
    """What a figure's file is called where nobody says it: `KIND-MODEL.png`."""
    return Path(default_name(kind, models) + suffix)


def write_view(view: View, path: Path, look: Look | None = None, *, force: bool = False) -> tuple[Path, Path, Path]:
    """Write the picture, and beside it the numbers as `.csv` and the words as `.json`; each is there whole or not.

    The same view gives the same bytes. Numbers and words that are there already with other contents are not
    replaced without `force`. Raises `OutputError`, and `SettingsError` for another format.
    """
    look = look or Look()
    require_free(path, force=force)
    table, words = path.with_suffix(".csv"), path.with_suffix(".json")
    contents = {
        # Names come from strangers, and spreadsheets take some for formulas.
        table: as_csv(view.table()).encode(),
        words: (json.dumps(view.words(), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(),
    }
    for beside, content in contents.items():
        if beside.exists() and not force and beside.read_bytes() != content:
            raise _there(beside)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as made:
            _render(view, made, look)
            for beside, content in contents.items():
                with whole_file(beside) as other:
                    other.write_bytes(content)
    except OSError as error:
        raise OutputError(
            f"{str(path)!r} cannot be written ({error.strerror or error}).",
            hint="Check the permissions and the space of that disk, or name another file.",
        ) from error
    return path, table, words


def require_free(path: Path, *, force: bool) -> None:
    """Raises `SettingsError` for another format, `OutputError` for a file that is there, unless `force`."""
    require_format(path)
    if path.is_dir() or (path.exists() and not force):
        raise _there(path)


def _there(path: Path) -> OutputError:
    return OutputError(f"{str(path)!r} is there already.", hint="Name another file, or replace it with `--force`.")


def _render(view: View, path: Path, look: Look) -> None:
    require_libraries("matplotlib", "cmcrameri")
    import matplotlib.pyplot as plt

    with drawing(look.theme, width_of(look.width)):
        figure = figure_of(draw(view))
        try:
            save_figure(figure, path, dpi=look.dpi)
        finally:
            plt.close(figure)


def plot_all(
    source: Source, name: str, folder: Path, look: Look | None = None, *, force: bool = False
) -> Iterator[Plotted]:
    """Every kind of figure that applies to a model, or to the models of a run, as they are drawn.

    Of a run the figures of each model lie in a folder of its name. Raises `NotMinedError` for a name that is neither,
    and `OutputError` where the folder is a file.
    """
    models, is_run = _models_of(source, name)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{str(folder)!r} is a file.", hint="Name a folder.")
    for kind in KINDS.values():
        if kind.subject in ("tensor", "model"):
            for model in models:
                place = folder / file_name(model) if is_run else folder
                yield plotted(source, kind.name, (model,), place / f"{kind.name}.png", look, force=force)
        else:
            yield plotted(source, kind.name, models, folder / f"{kind.name}.png", look, force=force)


def _models_of(source: Source, name: str) -> tuple[tuple[str, ...], bool]:
    """The model of that key, or the models that a run of that name found; and whether it is a run."""
    keys = source.database.model_keys()
    if name in keys:
        return (name,), False
    runs = {name: record for record in source.database.runs() for name in (record.request_key, record.run)}
    if name not in runs:
        raise NotMinedError(
            f"There is no mined model and no run {name!r}.",
            hint=did_you_mean(name, (*keys, *runs)) or "See `dna-zoo runs`.",
        )
    return tuple(each.key for each in runs[name].models if each.key in keys), True


def plotted(
    source: Source,
    kind: str,
    models: tuple[str, ...],
    path: Path,
    look: Look | None = None,
    *,
    tensor: str | None = None,
    force: bool = False,
) -> Plotted:
    """One figure of many, written: what goes wrong with it is told, and stops no other."""
    try:
        require_free(path, force=force)
        view = make_view(source, kind, models, tensor=tensor)
        write_view(view, path, look, force=force)
    except DnaZooError as error:
        return Plotted(kind=kind, models=models, path=path, error=error)
    return Plotted(kind=kind, models=models, path=path, view=view)
