"""A table as a file, in the format that the suffix names; the file is whole or not there."""

import csv
import datetime as dt
import itertools
import json
import math
import os
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dna_zoo.errors import SettingsError, StoreError
from patterndb.catalog_table import NUMBERS, CatalogTable, is_missing
from patterndb.columns import READING_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SUFFIXES", "escape_latex", "write_table"]


def write_table(table: CatalogTable, path: Path) -> None:
    """Write the table as CSV, Parquet, JSON lines, Markdown or LaTeX, as the suffix says.

    CSV, Parquet and JSON lines hold every column in full precision; Markdown and LaTeX are for reading and hold
    `READING_COLUMNS` with four significant digits. JSON lines have null for numbers that are not finite. Raises
    `SettingsError` for another suffix, `StoreError` if the file cannot be written.
    """
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        hint = f"Use one of: {', '.join(SUFFIXES)}."
        raise SettingsError(f"The suffix of {path.name!r} names no format of a table.", hint=hint)
    # Beside the target, since only within a file system can a file be put in place in one step.
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(table, partial)
        os.replace(partial, path)
    except OSError as error:
        raise StoreError(
            f"Cannot write {str(path)!r}: {error.strerror or error}.",
            hint="Check that the directory exists, that you may write there, and that the disk has room.",
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _write_csv(table: CatalogTable, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(["" if is_missing(value) else value for value in row] for row in table.rows())


EPOCH, MICROSECOND = dt.datetime.fromtimestamp(0, dt.UTC), dt.timedelta(microseconds=1)
PANDAS_TYPES = {
    "string": ("object", "string", None),
    "Int64": ("int64", "Int64", None),
    "float64": ("float64", "float64", None),
    "boolean": ("bool", "boolean", None),
    "datetime64[us, UTC]": ("datetimetz", "datetime64[us]", {"timezone": "UTC"}),
}
"""What pandas writes beside a Parquet file's columns of a type, so that it finds the type again."""


def _write_parquet(table: CatalogTable, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    names = list(table.columns)
    described = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": dtype, "metadata": metadata}
        for name in names
        for kind, dtype, metadata in [PANDAS_TYPES[table.dtypes[name]]]
    ]
    about = {"index_columns": [], "column_indexes": [], "columns": described, "attributes": {"table": table.name}}
    columns = [_arrow_column(table.columns[name], table.dtypes[name]) for name in names]
    found = pa.table(columns, names=names).replace_schema_metadata({"pandas": json.dumps(about)})
    # Opened here, so that the library does not guess a file system from the path.
    with path.open("wb") as file:
        pyarrow.parquet.write_table(found, file)


def _arrow_column(column: Sequence[Any], dtype: str) -> "pa.Array":
    """The column in Arrow's layout, missing values null.

    Laid out here (https://arrow.apache.org/docs/format/Columnar.html): `pyarrow.array` would load pandas to ask it
    whether a list is one of its own.
    """
    import numpy as np
    import pyarrow as pa

    is_there: Iterable[bool]
    if isinstance(column, array):
        is_there = ~np.isnan(np.frombuffer(column))
        kind, parts = pa.float64(), [column]
    else:
        is_there = [not is_missing(value) for value in column]
        values = [value if found else None for value, found in zip(column, is_there, strict=True)]
        kind, parts = _arrow_values(values, dtype)
    return pa.Array.from_buffers(kind, len(column), [pa.py_buffer(part) for part in (_bits(is_there), *parts)])


def _arrow_values(values: Sequence[Any], dtype: str) -> tuple["pa.DataType", list[Any]]:
    """The type of a column and its buffers, but for the one that says what is there; anything stands for None."""
    import pyarrow as pa

    if dtype == "string":
        texts = [b"" if value is None else value.encode() for value in values]
        return pa.large_string(), [array("q", itertools.accumulate(map(len, texts), initial=0)), b"".join(texts)]
    if dtype == "boolean":
        return pa.bool_(), [_bits([bool(value) for value in values])]
    if dtype == "float64":
        return pa.float64(), [array("d", [0.0 if value is None else value for value in values])]
    if dtype == "Int64":
        return pa.int64(), [array("q", [0 if value is None else value for value in values])]
    since = [0 if value is None else (value - EPOCH) // MICROSECOND for value in values]
    return pa.timestamp("us", tz="UTC"), [array("q", since)]


def _bits(truths: Iterable[bool]) -> bytes:
    """One bit each, the least significant first."""
    import numpy as np

    return np.packbits(np.asarray(truths, dtype=bool), bitorder="little").tobytes()


def _write_jsonl(table: CatalogTable, path: Path) -> None:
    names = list(table.columns)
    with path.open("w", encoding="utf-8") as file:
        for row in table.rows():
            plain = dict(zip(names, map(_plain_value, row), strict=True))
            file.write(json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n")


def _plain_value(value: Any) -> Any:
    """The value as JSON has it."""
    if is_missing(value) or (isinstance(value, float) and math.isinf(value)):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value


def _write_markdown(table: CatalogTable, path: Path) -> None:
    names, right, cells = _for_reading(table)
    escape = str.maketrans({"|": r"\|", "\n": " "})
    lines = [names, ["---:" if is_number else "---" for is_number in right], *cells]
    text = "".join(f"| {' | '.join(cell.translate(escape) for cell in line)} |\n" for line in lines)
    path.write_text(text, encoding="utf-8")


def _write_latex(table: CatalogTable, path: Path) -> None:
    names, right, cells = _for_reading(table)
    body = "".join(f"    {' & '.join(escape_latex(cell) for cell in row)} \\\\\n" for row in cells)
    path.write_text(
        "% Needs \\usepackage{booktabs} in the preamble.\n"
        "\\begin{table}\n"
        "  \\centering\n"
        f"  \\caption{{{CAPTIONS[table.name]}}}\n"
        f"  \\label{{tab:dna-zoo-{table.name}}}\n"
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


def _for_reading(table: CatalogTable) -> tuple[Sequence[str], list[bool], list[list[str]]]:
    """Names of the columns that fit on a page, which of them are numbers, and their cells as text."""
    names = READING_COLUMNS[table.name]
    right = [table.dtypes[name] in NUMBERS for name in names]
    return names, right, [[_format_cell(value) for value in row] for row in table.rows(names)]


def _format_cell(value: Any) -> str:
    """Floats with four significant digits, nothing for what is missing."""
    if is_missing(value):
        return ""
    if isinstance(value, float):
        return f"{value:.4g}".replace("inf", "∞")
    return str(value)


WRITERS: Mapping[str, Callable[[CatalogTable, Path], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".jsonl": _write_jsonl,
    ".md": _write_markdown,
    ".tex": _write_latex,
}
SUFFIXES = tuple(WRITERS)
"""The formats that `write_table` knows."""
