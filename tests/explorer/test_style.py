"""What figures share: colours that are told apart, widths, and settings that are put back."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest

from dna_zoo.errors import SettingsError
from explorer.style import MARKERS, OKABE_ITO, THEMES, WIDTHS, colour_of, diverging, drawing, marker_of, save_figure


def luminance(colour: str) -> float:
    """Relative, by WCAG 2."""
    channels = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_letters_stand_out_from_their_paper(theme: object) -> None:
    dark, light = sorted(luminance(getattr(theme, name)) for name in ("ink", "paper"))
    assert (light + 0.05) / (dark + 0.05) > 7


def test_no_two_of_the_first_64_categories_look_alike() -> None:
    looks = [(colour_of(place), marker_of(place)) for place in range(len(OKABE_ITO) * len(MARKERS))]
    assert len(set(looks)) == len(looks)


def test_signed_maps_are_even_about_zero_and_bright_ends_are_for_dark_paper() -> None:
    def lightness(on_paper: bool) -> list[float]:
        return [float(np.dot(diverging(on_paper=on_paper)(share)[:3], [0.3, 0.6, 0.1])) for share in (0.0, 0.5, 1.0)]

    with drawing("dark"):
        low, middle, high = lightness(True)
        assert middle < 0.2 < min(low, high) and lightness(False)[1] > 0.8
    with drawing("light"):
        low, middle, high = lightness(True)
        assert middle > 0.8 > max(low, high)


def test_settings_are_as_before_and_figures_as_wide_as_asked() -> None:
    before = dict(matplotlib.rcParams)
    with drawing("dark", WIDTHS["nature-single"]):
        assert matplotlib.rcParams["figure.figsize"][0] == pytest.approx(89 / 25.4)
        assert matplotlib.rcParams["figure.facecolor"] == THEMES["dark"].paper
    assert dict(matplotlib.rcParams) == {**before, "backend": matplotlib.rcParams["backend"]}


def test_another_format_is_refused(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    for name in ("figure.tiff", "figure"):
        with pytest.raises(SettingsError, match="cannot be written as"):
            save_figure(Figure(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
