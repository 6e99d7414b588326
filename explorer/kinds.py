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


_ROWS: tuple[tuple[str, Subject, str], ...] = (
    (
        "spectrum",
        "tensor",
        "the cosine transform in canonical and in file order, by frequency, with peaks above the null",
    ),
    (
        "singular-values",
        "tensor",
        "singular values beside Marchenko-Pastur's law, a null, and the power law of the tail",
    ),
    ("reconstruction", "tensor", "a matrix as its DNA says it, in nine panels, beside SVD, means and the null"),
    ("similarity", "models", "distances of models by weights and by kind, in the order of their tree"),
    ("tree", "models", "the tree that the distances make, with what is declared of each model"),
    ("gain", "models", "gain over the null by role and depth"),
    ("rate", "model", "what a DNA holds for its bits, beside SVD, the DCT, the null and the bound"),
    ("training", "model", "training curves of the fit beside those of its null"),
    ("class-scores", "models", "how well each class fits each model"),
    ("questions", "models", "what the labels of models have to do with their weights: effects with intervals"),
    ("matrix", "tensor", "a matrix in file and canonical order, beside its null, its DNA and what the DNA leaves"),
    ("frequencies", "tensor", "what the DNA oscillates with, and how much of each frequency is in the weights"),
    ("layer-spectra", "model", "energy in eight bands of frequency over the null, for every matrix by role and layer"),
    ("manifold", "model", "weights by row, column and depth in space, canonical order beside file order"),
    ("tensor-map", "models", "matrices that have like statistics near each other, with trustworthiness and its null"),
    ("model-map", "models", "models that have like statistics near each other, with trustworthiness and its null"),
)
KINDS: Mapping[str, FigureKind] = {
    name: FigureKind(name=name, subject=subject, summary=summary) for name, subject, summary in _ROWS
}


def find_kind(name: str) -> FigureKind:
    """Raises `SettingsError`, naming near misses, for a kind that there is not."""
    if name not in KINDS:
        raise SettingsError(
            f"There is no kind of figure {name!r}.", hint=did_you_mean(name, KINDS) or f"Kinds: {', '.join(KINDS)}."
        )
    return KINDS[name]
