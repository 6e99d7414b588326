"""A table of the database as a file, in the format that the suffix names; the file is whole or not there.

CSV, JSON lines and Parquet are written piece by piece: a table is never in memory as a whole.
"""

import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dna_zoo.errors import SettingsError, StoreError
from dna_zoo.files import whole_output
from dna_zoo.text import printable
from patterndb.exports.columns import PAPER_COLUMNS, READING_COLUMNS
from patterndb.exports.latex import TEXT_WIDTH, latex_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SUFFIXES", "as_csv", "csv_text", "require_format", "require_writable", "write_pieces", "write_table"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What a page is to show."""

    table: str
    columns: Sequence[str] | None
    width: float


def write_table(
    frame: "pd.DataFrame",
    path: Path,
    *,
    force: bool = False,
    columns: Sequence[str] | None = None,
    width: float = TEXT_WIDTH,
) -> None:
    """`write_pieces` of one frame of `PatternDatabase.export_catalog`."""
    write_pieces([frame], path, table=frame.attrs["table"], force=force, columns=columns, width=width)


def write_pieces(
    pieces: Iterable["pd.DataFrame"],
    path: Path,
    *,
    table: str,
    force: bool = False,
    columns: Sequence[str] | None = None,
    width: float = TEXT_WIDTH,
) -> int:
    """Write frames of `PatternDatabase.export_pieces` as CSV, Parquet, JSON lines, Markdown or LaTeX by suffix.

    CSV, Parquet and JSON lines hold every column in full precision. Markdown and LaTeX are for reading: without
    `columns` they hold `READING_COLUMNS` and `PAPER_COLUMNS`, Markdown with four significant digits; LaTeX is set to
    fit into `width` centimetres. JSON lines have null for numbers that are not finite. Texts come from strangers:
    control characters are escaped, and in CSV a text that a spreadsheet would take for a formula has a `'` before it.

    Returns how many rows were written. Raises `SettingsError` for another suffix, and for a file that is there unless
    `force`; `StoreError` if the file cannot be written.
    """
    require_format(path)
    require_writable(path, force=force)
    counted = _Counted(pieces)
    with whole_output(path, StoreError) as made:
        WRITERS[path.suffix.lower()](counted, made, _Wanted(table=table, columns=columns, width=width))
    return counted.rows


class _Counted:
    """Pieces, and how many rows went by."""

    def __init__(self, pieces: Iterable["pd.DataFrame"]) -> None:
        self._pieces = pieces
        self.rows = 0

    def __iter__(self) -> Iterator["pd.DataFrame"]:
        for piece in self._pieces:
            self.rows += len(piece)
            yield piece


def _write_csv(pieces: Iterable["pd.DataFrame"], path: Path, wanted: _Wanted) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for number, piece in enumerate(pieces):
            file.write(as_csv(piece, header=number == 0))


def as_csv(frame: "pd.DataFrame", *, header: bool = True) -> str:
    """The frame as CSV, in which no text is a formula or has a line break."""
    safe = frame.copy()
    for name in safe.select_dtypes(include=["object", "string"]):
        safe[name] = safe[name].map(csv_text)
    return safe.to_csv(index=False, header=header, lineterminator="\n")


def csv_text(value: Any) -> Any:
    """The text on one line, and no formula (OWASP, CSV injection); anything else as it is."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _write_parquet(pieces: Iterable["pd.DataFrame"], path: Path, wanted: _Wanted) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rest = iter(pieces)
    first = next(rest)
    schema = pa.Schema.from_pandas(first, preserve_index=False)
    with pq.ParquetWriter(path, schema) as writer:
        for piece in itertools.chain([first], rest):
            writer.write_table(pa.Table.from_pandas(piece, schema=schema, preserve_index=False))


def _write_jsonl(pieces: Iterable["pd.DataFrame"], path: Path, wanted: _Wanted) -> None:
    # pandas' own writer keeps 15 digits of a float, and 17 hold every bit.
    with path.open("w", encoding="utf-8") as file:
        for piece in pieces:
            for row in _rows(piece):
                plain = dict(zip(piece.columns, map(_plain_value, row), strict=True))
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


def _write_markdown(pieces: Iterable["pd.DataFrame"], path: Path, wanted: _Wanted) -> None:
    with path.open("w", encoding="utf-8") as file:
        for number, piece in enumerate(pieces):
            page = piece[list(wanted.columns or READING_COLUMNS[wanted.table])]
            if number == 0:
                rule = ["---:" if right else "---" for right in _are_numbers(page)]
                file.write(_markdown_row(page.columns) + _markdown_row(rule, is_rule=True))
            for row in _rows(page):
                file.write(_markdown_row(map(_format_cell, row)))


def _markdown_row(cells: Iterable[str], *, is_rule: bool = False) -> str:
    return f"| {' | '.join(cell if is_rule else cell.translate(MARKDOWN) for cell in cells)} |\n"


def _write_latex(pieces: Iterable["pd.DataFrame"], path: Path, wanted: _Wanted) -> None:
    names = list(wanted.columns or PAPER_COLUMNS[wanted.table])
    pages = [piece[names] for piece in pieces]
    rows = [row for page in pages for row in _rows(page)]
    text = latex_table(wanted.table, names, _are_numbers(pages[0]), rows, wanted.width)
    path.write_text(text, encoding="utf-8")


def _are_numbers(page: "pd.DataFrame") -> list[bool]:
    return [str(dtype) in ("float64", "Int64") for dtype in page.dtypes]


def _format_cell(value: Any) -> str:
    """Floats with four significant digits, nothing for what is missing."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}".replace("inf", "∞")
    return printable(str(value))


FORMULA = ("=", "@", "+", "-", "\t", "\r")
"""How a cell begins that a spreadsheet computes."""
MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\|[]*`!"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})
"""Characters that would end a cell, link, emphasise, or be HTML."""
WRITERS: Mapping[str, Callable[[Iterable["pd.DataFrame"], Path, _Wanted], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".jsonl": _write_jsonl,
    ".md": _write_markdown,
    ".tex": _write_latex,
}
SUFFIXES = tuple(WRITERS)
"""The formats that `write_pieces` knows."""
