"""Words of a figure fit its width, and names are names."""

from collections.abc import Iterator
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from explorer.lettering import fitted, headline, legend_above, log_ticks, plain, shortened, text_width
from explorer.panels import axes_for
from explorer.style import drawing
from explorer.view import View


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


LONG = "model.decoder.layers.17.encoder_attn.self_attention.q_proj.base_layer.weight"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Some(View):
    def table(self) -> pd.DataFrame:
        return pd.DataFrame()


def some(**changes: str) -> Some:
    words = {
        "title": "A title of some length that says what is to be seen",
        "subtitle": f"some-model: {LONG}",
        **changes,
    }
    return Some(kind="some", subject=("some-model",), caption="", alt="", n=1, **words)


def test_a_name_loses_its_middle_and_keeps_both_ends() -> None:
    assert shortened("encoder.weight", 20) == "encoder.weight"
    found = shortened(LONG, 21)
    assert len(found) == 21 and found.startswith("model.deco") and found.endswith(".weight") and "…" in found
    assert shortened("abc", 1) == "…" or len(shortened("abc", 1)) <= 2


def test_a_text_is_shortened_no_more_than_it_must_be() -> None:
    whole = text_width(LONG, 7)
    assert fitted(LONG, 7, whole) == LONG
    half = fitted(LONG, 7, whole / 2)
    assert 0.4 * whole < text_width(half, 7) <= whole / 2


def test_what_turns_lines_round_and_formulas_are_plain_text() -> None:
    assert plain("a\u202eb$c$") == r"a\u202eb\$c\$"


@pytest.mark.parametrize("width", [1.5, 3.25, 6.75])
def test_titles_stay_inside_a_figure_of_any_width(width: float) -> None:
    with drawing("light", width):
        axes = axes_for(None, 0.7)
        axes.plot([1, 2], [1, 2])
        headline(axes, some(), is_alone=True)
        figure = axes.get_figure(root=True)
        assert figure is not None
        figure.draw_without_rendering()
        frame = figure.bbox
        boxes = [text.get_window_extent() for text in figure.texts]
        assert len(boxes) >= 2 and all(box.x0 >= 0 and box.x1 <= frame.x1 and box.y1 <= frame.y1 for box in boxes)
        assert axes.get_tightbbox().y1 <= min(box.y0 for box in boxes)


def test_on_axes_that_were_given_the_title_stands_above_them() -> None:
    from matplotlib.figure import Figure

    with drawing("light", 3.25):
        left, right = Figure(layout="constrained").subplots(1, 2)
        headline(left, some(), is_alone=False)
        assert "A title" in left.get_title(loc="left") and right.get_title(loc="left") == ""
        assert "…" in left.get_title(loc="left")


def test_logarithmic_ticks_are_written_as_people_do() -> None:
    with drawing("light", 3.25):
        axes = axes_for(None, 0.7)
        axes.plot([0.5, 4], [0.01, 1000])
        axes.set(xscale="log", yscale="log")
        log_ticks(axes, "x", "y")
        figure = axes.get_figure(root=True)
        assert figure is not None
        figure.draw_without_rendering()
        shown = {label.get_text() for label in (*axes.get_xticklabels(), *axes.get_yticklabels())}
        assert {"0.5", "1", "2", "0.01", "1000"} <= shown and not any("^" in each for each in shown)


def test_a_legend_above_covers_no_curve() -> None:
    with drawing("light", 3.25):
        axes = axes_for(None, 0.7)
        for number in range(3):
            axes.plot(np.arange(9), np.arange(9) * number, label=f"curve {number}")
        legend_above(axes)
        figure = axes.get_figure(root=True)
        assert figure is not None
        figure.draw_without_rendering()
        assert axes.get_legend() is not None
        assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1 - 1
