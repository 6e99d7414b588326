"""A table as a file, in the format that the suffix names; the file is whole or not there."""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dna_zoo.errors import SettingsError, StoreError
from patterndb.columns import READING_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SUFFIXES", "escape_latex", "write_table"]


def write_table(frame: "pd.DataFrame", path: Path) -> None:
    """Write the table as CSV, Parquet, JSON lines, Markdown or LaTeX, as the suffix says.

    CSV, Parquet and JSON lines hold every column in full precision; Markdown and LaTeX are for reading and hold, of
    a table that knows its name, `READING_COLUMNS` with four significant digits. JSON lines have null for numbers that
    are not finite. Raises `SettingsError` for another suffix, `StoreError` if the file cannot be written.
    """
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        hint = f"Use one of: {', '.join(SUFFIXES)}."
        raise SettingsError(f"The suffix of {path.name!r} names no format of a table.", hint=hint)
    # Beside the target, since only within a file system can a file be put in place in one step.
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(frame, partial)
        os.replace(partial, path)
    except OSError as error:
        raise StoreError(
            f"Cannot write {str(path)!r}: {error.strerror or error}.",
            hint="Check that the directory exists, that you may write there, and that the disk has room.",
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _write_csv(frame: "pd.DataFrame", path: Path) -> None:
    frame.to_csv(path, index=False, lineterminator="\n")


def _write_parquet(frame: "pd.DataFrame", path: Path) -> None:
    # Opened here, so that the library does not guess a file system from the path.
    with path.open("wb") as file:
        frame.to_parquet(file, engine="pyarrow", index=False)


def _write_jsonl(frame: "pd.DataFrame", path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in frame.to_dict(orient="records"):
            plain = {str(name): _plain_value(value) for name, value in row.items()}
            file.write(json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n")


def _plain_value(value: Any) -> Any:
    """The value as JSON has it."""
    if _is_missing(value) or (isinstance(value, float) and math.isinf(value)):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value


def _write_markdown(frame: "pd.DataFrame", path: Path) -> None:
    names, right, cells = _for_reading(frame)
    escape = str.maketrans({"|": r"\|", "\n": " "})
    lines = [names, ["---:" if is_number else "---" for is_number in right], *cells]
    text = "".join(f"| {' | '.join(cell.translate(escape) for cell in line)} |\n" for line in lines)
    path.write_text(text, encoding="utf-8")


def _write_latex(frame: "pd.DataFrame", path: Path) -> None:
    names, right, cells = _for_reading(frame)
    table = frame.attrs.get("table", "table")
    body = "".join(f"    {' & '.join(escape_latex(cell) for cell in row)} \\\\\n" for row in cells)
    path.write_text(
        "% Needs \\usepackage{booktabs} in the preamble.\n"
        "\\begin{table}\n"
        "  \\centering\n"
        f"  \\caption{{{CAPTIONS.get(table, 'Patterns.')}}}\n"
        f"  \\label{{tab:dna-zoo-{table}}}\n"
        f"  \\begin{{tabular}}{{{''.join('r' if is_number else 'l' for is_number in right)}}}\n"
        "    \\toprule\n"
        f"    {' & '.join(escape_latex(name) for name in names)} \\\\\n"
        "    \\midrule\n"
        f"{body}"
        "    \\bottomrule\n"
        "  \\end{tabular}\n"
        "\\end{table}\n",
        encoding="utf-8",
    )


CAPTIONS: Mapping[str, str] = {
    "catalog": "Patterns found in the weights of the models, beside their nulls.",
    "tensors": "Patterns found in single tensors, beside their nulls.",
    "signatures": "Signatures of the models.",
    "distances": "Distances between the signatures of the models.",
}

LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "\n": " ", "∞": r"$\infty$",
}  # fmt: skip


def escape_latex(text: str) -> str:
    """The text as LaTeX sets it; a character at a time, so that no escape is escaped again."""
    return "".join(LATEX.get(character, character) for character in text)


def _for_reading(frame: "pd.DataFrame") -> tuple[list[str], list[bool], list[list[str]]]:
    """Names of the columns that fit on a page, which of them are numbers, and their cells as text."""
    from pandas.api.types import is_numeric_dtype

    wanted = READING_COLUMNS.get(frame.attrs.get("table", ""), tuple(frame.columns))
    right = [is_numeric_dtype(frame[name]) for name in wanted]
    rows = zip(*(frame[name] for name in wanted), strict=True)
    return list(wanted), right, [[_format_cell(value) for value in row] for row in rows]


def _format_cell(value: Any) -> str:
    """Floats with four significant digits, nothing for what is missing."""
    if _is_missing(value):
        return ""
    if isinstance(value, float):
        return f"{value:.4g}".replace("inf", "∞")
    return str(value)


def _is_missing(value: Any) -> bool:
    """None, pandas' NA and NaN."""
    import pandas as pd

    return bool(pd.isna(value))


WRITERS: Mapping[str, Callable[["pd.DataFrame", Path], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".jsonl": _write_jsonl,
    ".md": _write_markdown,
    ".tex": _write_latex,
}
SUFFIXES = tuple(WRITERS)
"""The formats that `write_table` knows."""
