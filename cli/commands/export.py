"""`dna-zoo export`: the database as a table in a file."""

from pathlib import Path
from typing import Annotated

import typer

from cli.numbers import count
from cli.options import flag
from cli.session import session_of
from dna_zoo.errors import SettingsError

__all__ = ["EXAMPLES", "export"]

EXAMPLES = (
    "dna-zoo export catalog.csv",
    "dna-zoo export tensors.parquet --table tensors",
    "dna-zoo export distances.tex --table distances",
)


def export(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="File to write. Its suffix is the format: .csv, .parquet, .jsonl, .md or .tex.",
            show_default=False,
        ),
    ],
    table: Annotated[
        str, typer.Option("--table", metavar="catalog|tensors|signatures|distances", help="Which table.")
    ] = "catalog",
    force: Annotated[bool, flag("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Write the database as a table, for pandas and for papers."""
    from patterndb.columns import require_table
    from patterndb.export import require_format, require_writable, write_table

    require_table(table)
    require_format(file)
    require_writable(file, force=force)
    session = session_of(context)
    with session.database() as database:
        if database.path is not None and file.exists() and file.samefile(database.path):
            raise SettingsError(f"{str(file)!r} is the database itself.", hint="Name another file.")
        found = database.export_catalog(table)
    write_table(found, file, force=force)
    rows = "row" if len(found) == 1 else "rows"
    session.output().note(f"Wrote {count(len(found))} {rows} of {table} to {file}.")
