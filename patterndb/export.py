"""A frame of the catalog as a file, in the format that the suffix names; the file is whole or not there."""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dna_zoo.errors import SettingsError, StoreError
from dna_zoo.text import printable
from patterndb.columns import READING_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SUFFIXES", "as_csv", "escape_latex", "require_format", "require_writable", "write_table"]


def require_format(path: Path) -> None:
    """Raise `SettingsError` for a suffix that is none of `SUFFIXES`."""
    if path.suffix.lower() not in SUFFIXES:
        hint = f"Use one of: {', '.join(SUFFIXES)}."
        raise SettingsError(f"The suffix of {path.name!r} names no format of a table.", hint=hint)


def require_writable(path: Path, *, force: bool) -> None:
    """Raise `SettingsError` for what a table must not replace: a file that is there, unless `force`; else never."""
    if path.is_file() and force:
        return
    if os.path.lexists(path):
        what = "is there already" if path.is_file() else "is no file: a folder, a device or a pipe"
        hint = "Replace it with --force, or name another file." if path.is_file() else "Name another file."
        raise SettingsError(f"{str(path)!r} {what}.", hint=hint)


def write_table(frame: "pd.DataFrame", path: Path, *, force: bool = False) -> None:
    """Write a frame of `PatternDatabase.export_catalog` as CSV, Parquet, JSON lines, Markdown or LaTeX by suffix.

    CSV, Parquet and JSON lines hold every column in full precision; Markdown and LaTeX are for reading and hold
    `READING_COLUMNS` with four significant digits. JSON lines have null for numbers that are not finite. Texts come
    from strangers: control characters are escaped, and in CSV a text that a spreadsheet would take for a formula has a
    `'` before it. Raises `SettingsError` for another suffix, and for a file that is there unless `force`; `StoreError`
    if the file cannot be written.
    """
    require_format(path)
    require_writable(path, force=force)
    # In the folder of the target, since only within a file system can a file be put in place in one step.
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        WRITERS[path.suffix.lower()](frame, partial)
        os.replace(partial, path)
    except OSError as error:
        raise StoreError(
            f"Cannot write {str(path)!r}: {error.strerror or error}.",
            hint="Check that the directory exists, that you may write there, and that the disk has room.",
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _write_csv(frame: "pd.DataFrame", path: Path) -> None:
    path.write_text(as_csv(frame), newline="")


def as_csv(frame: "pd.DataFrame") -> str:
    """The frame as CSV, in which no text is a formula or has a line break."""
    safe = frame.copy()
    for name in safe.select_dtypes(include=["object", "string"]):
        safe[name] = safe[name].map(_csv_text)
    return safe.to_csv(index=False, lineterminator="\n")


def _csv_text(value: Any) -> Any:
    """The text on one line, and no formula (OWASP, CSV injection); anything else as it is."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _write_parquet(frame: "pd.DataFrame", path: Path) -> None:
    frame.to_parquet(path, engine="pyarrow", index=False)


def _write_jsonl(frame: "pd.DataFrame", path: Path) -> None:
    # pandas' own writer keeps 15 digits of a float, and 17 hold every bit.
    with path.open("w", encoding="utf-8") as file:
        for row in _rows(frame):
            plain = dict(zip(frame.columns, map(_plain_value, row), strict=True))
            file.write(json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n")


def _rows(frame: "pd.DataFrame") -> Iterator[tuple[Any, ...]]:
    """The rows as plain values, None where one is missing."""
    columns = (frame[name].astype(object).where(frame[name].notna(), None) for name in frame.columns)
    return zip(*(column.tolist() for column in columns), strict=True)


def _plain_value(value: Any) -> Any:
    """The value as JSON has it."""
    if isinstance(value, float) and math.isinf(value):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value


def _write_markdown(frame: "pd.DataFrame", path: Path) -> None:
    names, right, cells = _for_reading(frame)
    lines = [names, ["---:" if is_number else "---" for is_number in right], *cells]
    text = "".join(f"| {' | '.join(cell.translate(MARKDOWN) for cell in line)} |\n" for line in lines)
    path.write_text(text, encoding="utf-8")


def _write_latex(frame: "pd.DataFrame", path: Path) -> None:
    table = frame.attrs["table"]
    names, right, cells = _for_reading(frame)
    body = "".join(f"    {' & '.join(escape_latex(cell) for cell in row)} \\\\\n" for row in cells)
    path.write_text(
        "% Needs \\usepackage{booktabs} in the preamble.\n"
        "\\begin{table}\n"
        "  \\centering\n"
        f"  \\caption{{{CAPTIONS[table]}}}\n"
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
    "catalog": "Patterns found in the weights of the models, compared with their nulls.",
    "tensors": "Patterns found in single tensors, compared with their nulls.",
    "signatures": "Signatures of the models.",
    "distances": "Distances between the signatures of the models.",
}

FORMULA = ("=", "@", "+", "-", "\t", "\r")
"""How a cell begins that a spreadsheet computes."""
MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\|[]*`!"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})
"""Characters that would end a cell, link, emphasise, or be HTML."""
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "]": "{]}", "*": "{*}", '"': "''", "\n": " ", "∞": r"$\infty$",
}  # fmt: skip


def escape_latex(text: str) -> str:
    """The text as LaTeX sets it; a character at a time, so that no escape is escaped again."""
    return "".join(LATEX.get(character, character) for character in text)


def _for_reading(frame: "pd.DataFrame") -> tuple[Sequence[str], list[bool], list[list[str]]]:
    """Names of the columns that fit on a page, which of them are numbers, and their cells as text."""
    names = READING_COLUMNS[frame.attrs["table"]]
    page = frame[list(names)]
    right = [str(dtype) in ("float64", "Int64") for dtype in page.dtypes]
    return names, right, [[_format_cell(value) for value in row] for row in _rows(page)]


def _format_cell(value: Any) -> str:
    """Floats with four significant digits, nothing for what is missing."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}".replace("inf", "∞")
    return printable(str(value))


WRITERS: Mapping[str, Callable[["pd.DataFrame", Path], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".jsonl": _write_jsonl,
    ".md": _write_markdown,
    ".tex": _write_latex,
}
SUFFIXES = tuple(WRITERS)
"""The formats that `write_table` knows."""
