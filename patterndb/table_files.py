"""A table as a file, in the format that the suffix names; the file is whole or not there."""

import csv
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
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
    `READING_COLUMNS` with four significant digits. JSON lines have null for numbers that are not finite; Parquet's
    floats have NaN for what is missing. Raises `SettingsError` for another suffix, `StoreError` if the file cannot
    be written.
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
    """The column as Parquet has it."""
    import pyarrow as pa

    kinds = {
        "string": pa.large_string(),
        "Int64": pa.int64(),
        "float64": pa.float64(),
        "boolean": pa.bool_(),
        "datetime64[us, UTC]": pa.timestamp("us", tz="UTC"),
    }
    return pa.array(column, type=kinds[dtype], from_pandas=True)


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
