"""LaTeX for papers: headings in words, numbers with one number of digits, no wider than the page."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dna_zoo.errors import SettingsError
from patterndb.exports.columns import COLUMNS, TABLES
from patterndb.exports.latex import MOST_ROWS, POINTS_PER_CM, escape_latex, heading, latex_table

NAMES = ("model", "weights", "fit_r2", "mse")
IS_NUMBER = (False, True, True, True)
ROW = ("alpha", 1234567, 0.123456, 1.2345e-5)


def made(rows: list[Any], width: float = 12.1) -> str:
    return latex_table("catalog", NAMES, IS_NUMBER, rows, width)


def body(text: str) -> list[str]:
    """The rows of the table, headings included."""
    return [line.strip().removesuffix(" \\\\") for line in text.splitlines() if " & " in line]


def test_headings_are_words_and_not_names_of_columns() -> None:
    headings = [heading(name) for table in TABLES for name in COLUMNS[table]]
    assert not any("_" in text.replace(r"\_", "") for text in headings if "$" not in text)
    assert not any("fit " in text.lower() for text in headings)
    assert [heading(name) for name in ("fit_svd_null_r2", "spectral_entropy.z", "pattern_class", "fit_r2_8bit")] == [
        "SVD null $R^2$", "Spectral entropy $z$", "Class", "$R^2$, 8 bits",
    ]  # fmt: skip


def test_a_column_has_one_number_of_digits_and_small_ones_powers_of_ten() -> None:
    rows = body(made([ROW, ("beta", 12, -0.1, 2e-4), ("gamma", None, float("inf"), None)]))
    assert rows[1:] == [
        r"alpha & 1{,}234{,}567 & 0.123 & $1.23\times 10^{-5}$",
        r"beta & 12 & $-0.100$ & $2.00\times 10^{-4}$",
        r"gamma &  & $\infty$ & ",
    ]


def test_a_long_table_has_its_headings_on_every_page() -> None:
    short, long = made([ROW] * MOST_ROWS), made([ROW] * (MOST_ROWS + 1))
    assert r"\begin{tabular}" in short and "longtable" not in short
    assert r"% Needs \usepackage{longtable}" in long and long.count(r"Model & Weights & $R^2$ & MSE \\") == 2
    assert long.count(r"\begin{") == long.count(r"\end{") == 1 and long.count("{") == long.count("}")


def test_a_narrower_page_gets_smaller_letters_and_then_broken_texts() -> None:
    rows = [("bert.encoder.layer.0.attention.self.query.weight", *ROW[1:])]
    sizes = [re.findall(r"(?:normalsize|small|footnotesize|scriptsize)", made(rows, width)) for width in (16, 13, 7)]
    assert sizes == [["normalsize"], ["small"], ["scriptsize"]]
    narrow = made(rows, 7)
    assert r"% Needs \usepackage{array}" in narrow and r"self.\allowbreak{}query" in narrow
    (width,) = re.findall(r"p\{([\d.]+)cm\}", narrow)
    assert 1.2 < float(width) < 7


def test_what_cannot_fit_is_an_error_that_says_how_wide_it_is() -> None:
    with pytest.raises(SettingsError, match=r"at least \d\.\d cm wide, and the page has 3\.0 cm"):
        made([ROW], 3)


def test_hyphens_of_a_name_make_no_dash() -> None:
    assert escape_latex("a--b---c-d") == "a-{}-b-{}-{}-c-d"


@pytest.mark.parametrize(("name", "is_told"), [("modèle", False), ("模型", True)])
def test_letters_that_not_every_latex_sets_are_told(name: str, is_told: bool) -> None:
    text = latex_table("catalog", ["model"], [False], [(name,)], 12)
    assert ("XeLaTeX" in text.split("\\begin")[0]) is is_told and name in text


def test_a_table_without_rows_has_its_headings() -> None:
    assert body(made([])) == [r"Model & Weights & $R^2$ & MSE"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("width", [16.0, 12.1, 9.0])
@pytest.mark.parametrize("count", [3, MOST_ROWS + 5])
def test_no_line_is_wider_than_the_page(width: float, count: int, tmp_path: Path) -> None:
    rows = [("bert.encoder.layer.0.attention.self.query.weight", *ROW[1:])] * count
    (tmp_path / "table.tex").write_text(made(rows, width))
    (tmp_path / "main.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs,longtable,array}"
        f"\\textwidth={width * POINTS_PER_CM}pt\\begin{{document}}\\input{{table}}\\end{{document}}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "Overfull" not in done.stdout, done.stdout
