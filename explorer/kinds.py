"""The kinds of figures there are: a table, so that a command, the dashboard and the report offer the same."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from dna_zoo.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from explorer.view import View

__all__ = ["KINDS", "FigureKind", "find_kind"]

Subject = Literal["tensor", "model", "models"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureKind:
    """One kind of figure: the module `explorer.figures.MODULE` defines `MODULE_view`, `plot_MODULE`, `MODULE_page`.

    - `MODULE_view(source, ...) -> View`: with `model, tensor` for a tensor, `model` for a model, `models` (a sequence
      of keys, all models where it is empty) for several; what else it takes has defaults;
    - `plot_MODULE(view, *, axes=None) -> Axes`: draws on the axes, or on those of a new figure;
    - `MODULE_page(view) -> plotly.graph_objects.Figure`.
    """

    name: str
    """On the command line."""
    subject: Subject
    summary: str
    """What it shows, in one clause."""

    @property
    def module(self) -> str:
        """The name as Python has it."""
        return self.name.replace("-", "_")

    @property
    def view(self) -> "Callable[..., View]":
        return self._member(f"{self.module}_view")

    @property
    def plot(self) -> Callable[..., Any]:
        return self._member(f"plot_{self.module}")

    @property
    def page(self) -> Callable[..., Any]:
        return self._member(f"{self.module}_page")

    def _member(self, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(import_module(f"explorer.figures.{self.module}"), name)
        return found


KINDS: Mapping[str, FigureKind] = {
    kind.name: kind
    for kind in (
        FigureKind(
            name="spectrum",
            subject="tensor",
            summary="the cosine transform in canonical and in file order, by frequency, with peaks above the null",
        ),
        FigureKind(
            name="singular-values",
            subject="tensor",
            summary="singular values beside Marchenko-Pastur's law, a null, and the power law of the tail",
        ),
        FigureKind(
            name="reconstruction",
            subject="tensor",
            summary="a matrix as its DNA says it, in nine panels, beside SVD, means and the null",
        ),
        FigureKind(
            name="similarity",
            subject="models",
            summary="distances of models by weights and by kind, in the order of their tree",
        ),
        FigureKind(
            name="tree",
            subject="models",
            summary="the tree that the distances make, with what is declared of each model",
        ),
        FigureKind(
            name="gain",
            subject="models",
            summary="gain over the null by role and depth",
        ),
        FigureKind(
            name="rate",
            subject="model",
            summary="what a DNA holds for its bits, beside SVD, the DCT, the null and the bound",
        ),
        FigureKind(
            name="training",
            subject="model",
            summary="training curves of the fit beside those of its null",
        ),
        FigureKind(
            name="class-scores",
            subject="models",
            summary="how well each class fits each model",
        ),
        FigureKind(
            name="questions",
            subject="models",
            summary="what the labels of models have to do with their weights: effects with intervals",
        ),
        FigureKind(
            name="matrix",
            subject="tensor",
            summary="a matrix in file and canonical order, beside its null, its DNA and what the DNA leaves",
        ),
        FigureKind(
            name="frequencies",
            subject="tensor",
            summary="what the DNA oscillates with, and how much of each frequency is in the weights",
        ),
        FigureKind(
            name="layer-spectra",
            subject="model",
            summary="energy in eight bands of frequency over the null, for every matrix by role and layer",
        ),
        FigureKind(
            name="manifold",
            subject="model",
            summary="weights by row, column and depth in space, canonical order beside file order",
        ),
        FigureKind(
            name="tensor-map",
            subject="models",
            summary="matrices that have like statistics near each other, with trustworthiness and its null",
        ),
        FigureKind(
            name="model-map",
            subject="models",
            summary="models that have like statistics near each other, with trustworthiness and its null",
        ),
    )
}


def find_kind(name: str) -> FigureKind:
    """Raises `SettingsError`, naming near misses, for a kind that there is not."""
    if name not in KINDS:
        raise SettingsError(
            f"There is no kind of figure {name!r}.", hint=did_you_mean(name, KINDS) or f"Kinds: {', '.join(KINDS)}."
        )
    return KINDS[name]
