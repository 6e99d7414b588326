"""A table as LaTeX for a paper: readable headings, numbers with one number of digits a column, no wider than the page.

How wide a column is set is estimated from the widths of letters in Computer Modern. What does not fit at the usual size
is set smaller; then texts are broken into lines.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dna_zoo.errors import SettingsError
from dna_zoo.text import printable

__all__ = ["MOST_ROWS", "TEXT_WIDTH", "escape_latex", "heading", "latex_table"]

TEXT_WIDTH = 12.1
"""Centimetres: the lines of the class `article`."""
MOST_ROWS = 40
"""A table with more rows goes over several pages."""
LAST_LATIN = "\u017f"
"""The last letter that pdfLaTeX sets without more packages."""
POINTS_PER_CM = 72.27 / 2.54
SIZES = (("normalsize", 10.0, 6), ("small", 9.25, 5), ("footnotesize", 8.5, 4), ("scriptsize", 7.97, 3))
"""Font size: its command, how wide its letters are, and the points left and right of a column.

Small fonts of Computer Modern are wider than their points say: a digit is half the size of cmr10, and 0.569 of the size
of cmr7. The second number is 20 times the width of a digit of cmr10, cmr9, cmr8, cmr7, in points."""
NARROWEST = 5.0
"""Widths of an M that a broken text gets at least."""
NARROW, WIDE = set("ijltf.,:;|!'()[]{} "), set("mwMW@%")

CAPTIONS: Mapping[str, str] = {
    "catalog": "Patterns found in the weights of the models, compared with their nulls.",
    "tensors": "Patterns found in single tensors, compared with their nulls.",
    "roles": "Patterns found in the tensors of one role, compared with their nulls.",
    "signatures": "Signatures of the models.",
    "distances": "Distances between the signatures of the models.",
}
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "]": "{]}", "*": "{*}", '"': "''", "\n": " ", "∞": r"$\infty$",
}  # fmt: skip
HEADINGS: Mapping[str, str] = {
    "a": "Model A",
    "b": "Model B",
    "num_weights": "Weights",
    "num_tensors": "Tensors",
    "cols": "Columns",
    "pattern_class": "Class",
    "class_margin": "Margin",
    "fit_bits_per_weight": "Bits/w",
    "fit_means_null_r2": "null $R^2$",
    "fit_gain_beyond_means": "Gain",
    "fit_r2_8bit": "$R^2$, 8 bits",
    "z": "$z$",
    "p": "$p$",
    "q": "$q$",
}
"""Of the columns whose names do not say it in a paper's words."""
WORDS: Mapping[str, str] = {
    "r2": "$R^2$", "svd": "SVD", "dct": "DCT", "dna": "DNA", "mse": "MSE", "rmse": "RMSE", "mae": "MAE", "psnr": "PSNR",
    "smape": "SMAPE", "sha256": "SHA-256", "8bit": "(8 bits)", "z": "$z$", "p": "$p$", "q": "$q$", "std": "s.\\,d.",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Set:
    """How the columns are set: the font, and the widths of those that are broken into lines, in centimetres."""

    size: str
    gap: int
    widths: Mapping[int, float]


def escape_latex(text: str) -> str:
    """The text as LaTeX sets it; a character at a time, so that no escape is escaped again. Two hyphens stay two: LaTeX
    would make a dash of them, and another name of the name."""
    return "".join(LATEX.get(character, character) for character in text).replace("--", "-{}-").replace("--", "-{}-")


def heading(name: str) -> str:
    """A column's heading in LaTeX: words in place of its name."""
    if name in HEADINGS:
        return HEADINGS[name]
    words = [WORDS.get(word, escape_latex(word)) for word in re.split(r"[_.]+", name.removeprefix("fit_"))]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def latex_table(
    table: str, names: Sequence[str], is_number: Sequence[bool], rows: Sequence[Sequence[Any]], width: float
) -> str:
    """The whole table, with what it needs in the preamble said in its first lines.

    - `rows`: plain values, None where one is missing;
    - `width`: of the page, in centimetres.

    Raises `SettingsError` where even broken texts do not fit.
    """
    cells = list(zip(*(_cells(column) for column in zip(*rows, strict=True)), strict=True)) if rows else []
    headings = [heading(name) for name in names]
    chosen = _fit(headings, is_number, cells, width)
    shown = [
        [_broken(cell) if place in chosen.widths else cell for place, cell in enumerate(row)]
        for row in (headings, *cells)
    ]
    columns = "".join(_column(place, right, chosen) for place, right in enumerate(is_number))
    lines = [f"    {' & '.join(row)} \\\\\n" for row in shown]
    write = _long if len(rows) > MOST_ROWS else _short
    return write(table, f"@{{}}{columns}@{{}}", chosen, lines)


def _column(place: int, right: bool, chosen: _Set) -> str:
    if place in chosen.widths:
        return f">{{\\raggedright\\arraybackslash}}p{{{chosen.widths[place]:.2f}cm}}"
    return "r" if right else "l"


def _short(table: str, columns: str, chosen: _Set, lines: Sequence[str]) -> str:
    """On one page, where LaTeX has room for it."""
    return (
        f"{_needs(chosen, lines)}"
        "\\begin{table}\n"
        "  \\centering\n"
        f"  \\caption{{{CAPTIONS[table]}}}\n"
        f"  \\label{{tab:dna-zoo-{table}}}\n"
        f"  \\{chosen.size}\\setlength{{\\tabcolsep}}{{{chosen.gap}pt}}\n"
        f"  \\begin{{tabular}}{{{columns}}}\n"
        "    \\toprule\n"
        f"{lines[0]}"
        "    \\midrule\n"
        f"{''.join(lines[1:])}"
        "    \\bottomrule\n"
        "  \\end{tabular}\n"
        "\\end{table}\n"
    )


def _long(table: str, columns: str, chosen: _Set, lines: Sequence[str]) -> str:
    """Over several pages, with the headings on each."""
    return (
        f"{_needs(chosen, lines, 'longtable')}"
        f"{{\\{chosen.size}\\setlength{{\\tabcolsep}}{{{chosen.gap}pt}}\n"
        f"  \\begin{{longtable}}{{{columns}}}\n"
        f"    \\caption{{{CAPTIONS[table]}}}\\label{{tab:dna-zoo-{table}}} \\\\\n"
        f"    \\toprule\n{lines[0]}    \\midrule\n    \\endfirsthead\n"
        f"    \\toprule\n{lines[0]}    \\midrule\n    \\endhead\n"
        "    \\midrule\n    \\endfoot\n"
        "    \\bottomrule\n    \\endlastfoot\n"
        f"{''.join(lines[1:])}"
        "  \\end{longtable}\n"
        "}\n"
    )


def _needs(chosen: _Set, lines: Sequence[str], *more: str) -> str:
    """What the preamble must have, and which LaTeX can set the letters."""
    packages = ("booktabs", *more, *(("array",) if chosen.widths else ()))
    needed = [f"% Needs \\usepackage{{{package}}} in the preamble.\n" for package in packages]
    if any(character > LAST_LATIN for line in lines for character in line):
        needed.append("% Needs XeLaTeX or LuaLaTeX, and a font with these letters: pdfLaTeX knows them not.\n")
    return "".join(needed)


# The cells.


def _cells(values: Sequence[Any]) -> list[str]:
    """The cells of a column: floats with the same number of digits behind the point, or all with a power of ten."""
    floats = [abs(value) for value in values if isinstance(value, float) and math.isfinite(value) and value]
    largest = max(floats, default=1.0)
    digits = max(0, 3 - max(0, math.floor(math.log10(largest))))
    has_powers = largest >= 1e5 or largest < 5e-3
    return [_cell(value, None if has_powers else digits) for value in values]


def _cell(value: Any, digits: int | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "{,}")
    if isinstance(value, float):
        return _float(value, digits)
    return escape_latex(printable(str(value)))


def _float(value: float, digits: int | None) -> str:
    if math.isinf(value):
        return r"$\infty$" if value > 0 else r"$-\infty$"
    if digits is None and value:
        mantissa, _, power = f"{value:.2e}".partition("e")
        return f"${mantissa}\\times 10^{{{int(power)}}}$"
    text = f"{value:z.{digits or 0}f}"
    return f"${text}$" if text.startswith("-") else text


def _broken(cell: str) -> str:
    """The cell with places where a line may end: behind a point, a slash, a line below or a hyphen."""
    return re.sub(r"(\\_|[./-])(?=[^\s\\&}])", r"\1\\allowbreak{}", cell)


# The widths.


def _fit(headings: Sequence[str], is_number: Sequence[bool], cells: Sequence[Sequence[str]], page: float) -> _Set:
    """The largest font in which all columns fit beside each other; else the smallest, with texts broken into lines."""
    natural = [max(map(_width, column)) for column in zip(headings, *cells, strict=True)]
    room = page * POINTS_PER_CM
    for size, points, gap in SIZES:
        if sum(natural) * points + _gaps(len(natural), gap) <= room:
            return _Set(size=size, gap=gap, widths={})
    size, points, gap = SIZES[-1]
    texts = {place: width for place, width in enumerate(natural) if not is_number[place] and width > NARROWEST}
    left = room / points - _gaps(len(natural), gap) / points - (sum(natural) - sum(texts.values()))
    if left < NARROWEST * len(texts) or not texts:
        least = sum(natural) - sum(texts.values()) + NARROWEST * len(texts)
        narrowest = (least * points + _gaps(len(natural), gap)) / POINTS_PER_CM
        raise SettingsError(
            f"The table is at least {narrowest:.1f} cm wide, and the page has {page:.1f} cm.",
            hint="Choose fewer columns with `--columns`, or give the width of the page with `--width`.",
        )
    return _Set(size=size, gap=gap, widths=_shared(texts, left, points))


def _shared(texts: Mapping[int, float], room: float, points: float) -> dict[int, float]:
    """The room in centimetres, shared out over the texts: those that need little keep that."""
    share, rest, found = room / len(texts), dict(texts), {}
    while narrow := {place: width for place, width in rest.items() if width <= share}:
        found.update(narrow)
        rest = {place: width for place, width in rest.items() if place not in narrow}
        if not rest:
            break
        share = (room - sum(found.values())) / len(rest)
    found.update(dict.fromkeys(rest, share))
    return {place: width * points / POINTS_PER_CM for place, width in found.items()}


def _gaps(columns: int, gap: int) -> int:
    return 2 * gap * (columns - 1)


def _width(cell: str) -> float:
    """Of a cell in widths of an M of its font, on the safe side."""
    text = re.sub(r"\\[a-zA-Z]+(?:\{\})?|[\\${}^]", "", cell.replace(r"\times", "xx"))
    return sum(_letters(text))


def _letters(text: str) -> Iterable[float]:
    for character in text:
        if character in NARROW:
            yield 0.33
        elif character in WIDE:
            yield 0.92
        elif character.isupper():
            yield 0.75
        else:
            yield 0.51
