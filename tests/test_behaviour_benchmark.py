"""What the benchmark of rebuilt models keeps, runs again and puts into its page."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.behaviour import (
    COLUMNS,
    LARGER_BUDGET,
    WITH_RESIDUALS,
    counts_table,
    draw,
    everything,
    is_done,
    page_table,
    replaced,
    residuals_table,
)


def evaluation(model: str, *budgets: float, kind: str = "masked-lm", residual: int | None = None) -> dict[str, Any]:
    """Every code with figures that tell its budget."""
    names = {"masked-lm": ("loss", "kl"), "encoder": ("spearman", "cka")}[kind]
    return {
        "model": model,
        "kind": kind,
        "residual_bits": residual,
        "original": {names[0]: 1.5},
        "points": [
            {
                "budget": budget,
                "measured": [
                    {"code": code, "bits_per_weight": budget, "r2": budget, "figures": {names[0]: budget, names[1]: 2}}
                    for code in COLUMNS
                ],
            }
            for budget in budgets
        ],
    }


def test_a_model_is_run_again_if_it_was_run_with_other_budgets_or_residuals() -> None:
    asked = Namespace(budgets=[0.01], residual_bits=[2], no_shuffled=False)
    kept = {"budgets": [0.01], "residual_bits": [2], "no_shuffled": False, "threads": 7}
    assert is_done(kept, asked)
    for name, other in (("budgets", [0.01, 0.15]), ("residual_bits", []), ("no_shuffled", True)):
        assert not is_done({**kept, name: other}, asked)
    assert not is_done({}, asked)


def test_what_is_run_again_takes_the_place_of_what_was_there() -> None:
    first, second = everything()[:2]
    rows = replaced([evaluation(second, 0.1), evaluation(first, 0.1)], first, [evaluation(first, 0.2)])
    assert [(row["model"], row["points"][0]["budget"]) for row in rows] == [(first, 0.2), (second, 0.1)]


def test_the_page_has_the_ends_of_the_budgets_and_one_residual() -> None:
    rows = [
        evaluation("a", 0.01, 0.1, 0.4),
        evaluation("a", 0.01, residual=1),
        evaluation("a", 0.01, residual=2),
        evaluation("b", 0.01, kind="encoder"),
    ]
    _, _, *lines = page_table(rows)
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
    assert [(row[0], row[3], row[6]) for row in cells] == [
        ("a", "–", "0.01"),
        ("a", "–", "0.4"),
        ("a", "2 bits", "0.01"),
        ("b", "–", "0.01"),
    ]
    assert cells[3][-1] == "–"


def test_the_page_counts_for_how_many_specimens_the_dna_is_nearer() -> None:
    rows = [evaluation(name, 0.01, 0.4) for name in ("a", "b", "c")] + [evaluation("e", 0.01, kind="encoder")]
    rows.append(evaluation("a", 0.01, residual=2))
    for row, kl in zip(rows, (1.0, 2.0, 3.0), strict=False):  # The others have 2.
        row["points"][0]["measured"][0]["figures"]["kl"] = kl
    rows[2]["points"][1]["measured"][COLUMNS.index("rounding")]["figures"]["kl"] = None
    del rows[4]["points"][0]["measured"][COLUMNS.index("shuffled")]
    _, _, *lines = counts_table(rows)
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
    one, none = "1 of 3", "0 of 3"
    assert cells == [
        ["0.01", "–", "0.01 to 0.01", "3", one, one, one, one, "a"],
        ["0.01", "2 bits", "0.01 to 0.01", "1", "0 of 1", "0 of 1", "0 of 1", "–", "–"],
        ["0.4", "–", "0.40 to 0.40", "3", none, none, none, none, "–"],
    ]


def test_a_residual_stands_beside_rounding_and_a_larger_dna() -> None:
    rows = [evaluation(WITH_RESIDUALS, 0.01, LARGER_BUDGET), evaluation("other", 0.01, residual=1)]
    rows += [evaluation(WITH_RESIDUALS, 0.01, residual=bits) for bits in (1, 2)]
    _, _, _, *lines = residuals_table(rows)
    cells = [[cell.strip() for cell in line.strip("| ").split("|")][:2] for line in lines]
    assert cells == [
        ["DNA, residual of 1 bit", "0.010"],
        ["plain rounding", "0.010"],
        ["DNA, residual of 2 bits", "0.010"],
        ["plain rounding", "0.010"],
        ["DNA of budget 0.15", "0.150"],
        ["plain rounding", "0.150"],
    ]


@pytest.mark.slow
def test_a_figure_that_could_not_be_had_is_left_out_of_the_curve(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = [evaluation("a", 0.01, 0.1), evaluation("a", 0.01, residual=2), evaluation("b", 0.01, kind="encoder")]
    rows[2]["points"][0]["measured"][0]["figures"]["cka"] = None
    for path in (tmp_path / "one.svg", tmp_path / "two.svg"):
        draw(rows, path)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
