"""Every kind of figure: its words and numbers, where it draws, and its null."""

from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex

from explorer.kinds import KINDS
from explorer.plotting import draw, make_view
from explorer.source import Source
from explorer.style import NULL, drawing

MODEL, TENSOR = "gpt2-a", "transformer.h.0.mlp.c_fc.weight"
IN_GREY = ("spectrum", "singular-values", "layer-spectra", "reconstruction", "gain", "rate", "training", "questions")
"""Kinds that draw their null in its grey; on the others it is a panel or a number."""


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


def view_of(source: Source, kind: str) -> Any:
    subject = KINDS[kind].subject
    return make_view(
        source, kind, () if subject == "models" else (MODEL,), tensor=TENSOR if subject == "tensor" else None
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_view_has_words_and_numbers_and_is_drawn_both_ways(kind: str, source: Source) -> None:
    view = view_of(source, kind)
    table = view.table()
    assert len(table) and set(view.units) <= set(table.columns)
    for words in (view.title, view.subtitle, view.caption, view.alt):
        assert words and "nan" not in words.split() and "None" not in words
    assert view.alt.endswith(".") and view.caption.endswith(".") and view.n > 0
    for width in (3.25, 6.75):
        with drawing("light", width):
            draw(view).get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]
    page = KINDS[kind].page(view).to_plotly_json()
    assert page["data"] and page["layout"]["title"]["text"] == view.title


@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_draws_on_axes_that_are_given(kind: str, source: Source) -> None:
    view = view_of(source, kind)
    with drawing("dark", 6.75):
        figure, (left, right) = plt.subplots(1, 2)
        drawn = draw(view, axes=left)
        figure.draw_without_rendering()
    assert drawn.get_figure(root=True) is figure and not right.lines and not right.images and figure.texts == []


@pytest.mark.parametrize("kind", IN_GREY)
def test_the_null_is_drawn_in_its_grey(kind: str, source: Source) -> None:
    with drawing("light", 6.75):
        figure = draw(view_of(source, kind)).get_figure(root=True)
    assert figure is not None
    parts = [part for axes in figure.axes for part in axes.collections]
    colours = {to_hex(line.get_color()).upper() for axes in figure.axes for line in axes.lines}
    colours |= {to_hex(each[:3]).upper() for part in parts for each in part.get_facecolor()}
    assert NULL in colours
