"""What stands between the marks of a page is what its command writes there from the kept results."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import (
    behaviour,
    calibration,
    damage,
    direction,
    floors,
    gain_calibration,
    hands,
    lineage_calibration,
    questions,
    ranks,
    rate,
    real_models,
    surgery,
)
from benchmarks.faults import page as faults
from benchmarks.golden import GOLDEN, read
from benchmarks.hostile import __main__ as hostile
from benchmarks.initialise import __main__ as initialise
from benchmarks.initialise import report
from benchmarks.parts import wiring_page
from benchmarks.parts.database import page as database_page
from benchmarks.parts.database import scale_page
from benchmarks.parts.scaffold import read_figures, read_results
from benchmarks.relatedness import lineage_page

ROOT = Path(__file__).parents[1]
LAYOUTS = "python -m benchmarks.layouts --page"
"""It keeps no results: `tests/test_layouts.py` reads each layout."""


def held(lines: Callable[..., Iterable[str]], name: str, *keys: str) -> Callable[[], Iterable[str]]:
    """The lines of what is kept under a name, or of a part of it."""

    def found() -> Iterable[str]:
        kept: Any = read_results(name)
        for key in keys:
            kept = kept[key]
        return lines(kept)

    return found


def surgery_lines(kept: Mapping[str, Any]) -> Iterable[str]:
    return [*surgery.combine_table(kept["combine"]), "", *surgery.transplant_table(kept["transplant"], kept["steps"])]


def initialise_lines(kept: Mapping[str, Any]) -> Iterable[str]:
    return report.page_lines(report.compare(kept["curves"]), kept["texts"])


def ranks_lines(kept: Mapping[str, Any]) -> Iterable[str]:
    return ranks.table(kept["rows"], read_results("real-models")["rows"])


PAGES: dict[str, tuple[Path, Callable[[], Iterable[str]]]] = {
    calibration.COMMAND: (calibration.PAGE, held(calibration.page_lines, "calibration")),
    damage.COMMAND: (damage.PAGE, held(damage.page_lines, "damage")),
    database_page.COMMAND: (database_page.PAGE, database_page.page_lines),
    floors.COMMAND: (floors.PAGE, held(floors.page, "floors")),
    floors.STEPS: (floors.PAGE, floors.step_page),
    gain_calibration.COMMAND: (gain_calibration.PAGE, held(gain_calibration.page_lines, "gain-calibration")),
    hands.COMMAND: (hands.PAGE, held(hands.page_table, "hands")),
    hostile.COMMAND: (hostile.PAGE, held(hostile.page_lines, "hostile")),
    initialise.COMMAND: (initialise.PAGE, held(initialise_lines, "initialise")),
    lineage_calibration.COMMAND: (
        lineage_calibration.PAGE,
        held(lineage_calibration.table, "lineage-calibration", "rows"),
    ),
    questions.COMMAND: (questions.PAGE, held(questions.page_lines, "questions")),
    ranks.COMMAND: (ranks.PAGE, held(ranks_lines, "ranks")),
    rate.COMMAND: (rate.PAGE, held(rate.page_lines, "rate", "rows")),
    real_models.COMMAND: (real_models.PAGE, held(real_models.table, "real-models", "rows")),
    scale_page.COMMAND: (scale_page.PAGE, scale_page.page_lines),
    surgery.COMMAND: (surgery.PAGE, held(surgery_lines, "surgery")),
    wiring_page.COMMAND: (wiring_page.PAGE, wiring_page.page_lines),
    **{
        behaviour.command_of(name): (behaviour.PAGE, held(lines, "behaviour", "evaluations"))
        for name, lines in behaviour.TABLES.items()
    },
    **{
        direction.COMMAND.format(part): (direction.PAGE, held(lines, "direction", part))
        for part, lines in direction.TABLES.items()
    },
    **{
        lineage_page.COMMAND.format(part): (lineage_page.PAGE, held(lines, "lineage", part))
        for part, lines in lineage_page.TABLES.items()
    },
    **{
        faults.COMMAND.format(kind): (faults.PAGE, held(faults.table, "faults", kind))
        for kind in read_results("faults")
    },
}
"""Command -> the page it writes into, and the lines."""


@pytest.mark.parametrize(
    "command", [pytest.param(each, marks=[pytest.mark.slow] * (each == floors.STEPS)) for each in PAGES]
)
def test_a_page_has_the_kept_figures(command: str) -> None:
    page, lines = PAGES[command]
    assert read_figures(page, command) == "\n".join(lines()).strip("\n")


def test_all_figures_of_pages_are_held_against_what_is_kept() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "benchmarks" / "README.md"]
    marks = {mark for page in pages for mark in re.findall(r"<!-- figures: (.+) -->", page.read_text())}
    assert marks - {LAYOUTS} == {*PAGES}


def test_the_page_on_fits_has_the_medians_of_the_readme() -> None:
    rows = read_results("real-models")["rows"]
    real, every = (
        [f"{real_models.middle(rows, models, key):.2f}" for key in ("r2_to_svd", "gain_to_svd")]
        for models in (real_models.REAL, real_models.MODELS)
    )
    page = " ".join(ranks.PAGE.read_text().split())
    assert "holds {} times SVD's R2 and {} times its gain, median over the four real models".format(*real) in page
    assert "over all ten it is {} and {}".format(*every) in page


def test_the_page_on_numbers_has_the_traces_of_the_golden_results() -> None:
    """They are of whole models, so that no benchmark has them."""
    found = read(GOLDEN)["statistics"]

    def told(model: str, name: str, field: str) -> str:
        value = found[f"{model}/model/{name}/{field}"]
        return f"{value:.4f}" if field == "p" and value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"

    page = (ROOT / "docs" / "measurement.md").read_text()
    for name in ("products.query_key_trace_size", "products.output_value_trace_size"):
        cells = (told("minilm-l6", name, field) for field in ("value", "null_mean", "p"))
        assert f"| `{name}` | {' | '.join(cells)} |" in page
    name = "products.query_key_trace"
    values = [found[f"{model}/model/{name}/value"] for model in ("bert-a", "bert-b", "bert-untrained")]
    p = [told(model, name, "p") for model in ("bert-a", "bert-untrained")]
    assert "| `{}` | {:.3f}, {:.3f}; {:.3f} | | {}; {} |".format(name, *values, *p) in page


PLANTED = {
    "Fourier, Hadamard or DCT basis": ("fourier basis", "hadamard basis", "dct basis"),
    "identity; permutation": ("identity", "permutation"),
    "block diagonal; banded": ("block diagonal", "banded"),
    "ternary grid; half pruned": ("ternary grid", "half pruned"),
    "low rank in one head of four": ("low rank in one head",),
    "two groups of like rows; eight": ("two groups of rows", "eight groups of rows"),
}
"""Rows of the page that are of several kinds, or call one otherwise."""


def test_the_page_on_numbers_has_what_the_statistics_see() -> None:
    shares: Any = {(row["kind"], row["strength"]): row["shares"] for row in read_results("power")}  # type: ignore[index]
    section = (
        (ROOT / "docs" / "measurement.md").read_text().split("\n| structure | from | seen by |\n|---|---|---|\n")[1]
    )
    told = [line.strip("| ").split(" | ") for line in section.split("\n\n")[0].splitlines()]
    seen = set()
    for name, strengths, by in told:
        kinds = PLANTED.get(name, (name[0].lower() + name[1:],))
        for kind, first in zip(kinds, map(float, strengths.split("; ") * len(kinds)), strict=False):
            seen.add(kind)
            assert all(shares[kind, first][statistic] >= 0.8 for statistic in re.findall("`(.+?)`", by.split(";")[0]))
            weaker = [found for (other, strength), found in shares.items() if other == kind and strength < first]
            assert all(share < 0.8 for found in weaker for share in found.values()), kind
    assert seen == {kind for kind, _ in shares}
