"""`dna-zoo export`: the database as a table in a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.completion import mined_keys
from cli.numbers import count
from cli.options import RunOption, finite, flag
from cli.session import session_of
from cli.tables import escaped, make_facts
from dna_zoo.errors import NotMinedError, SettingsError

if TYPE_CHECKING:
    from cli.output import Output
    from patterndb.store import PatternDatabase

__all__ = ["EXAMPLES", "export"]

EXAMPLES = (
    "dna-zoo export --list --table roles",
    "dna-zoo export catalog.csv",
    "dna-zoo export tensors.parquet --table tensors --model minilm-l6",
    "dna-zoo export roles.tex --table roles --where modality=text",
    "dna-zoo export roles.tex --table roles --columns model,role,fit_r2",
    "dna-zoo export distances.tex --table distances",
)


def export(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="File to write. Its suffix is the format: .csv, .parquet, .jsonl, .md or .tex.",
        ),
    ] = None,
    table: Annotated[
        str, typer.Option("--table", metavar="catalog|tensors|roles|signatures|distances", help="Which table.")
    ] = "catalog",
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="KEY",
            help="Only this model; repeat for several.",
            autocompletion=mined_keys,
        ),
    ] = None,
    where: Annotated[
        str, typer.Option("--where", metavar="FACET=LABEL,...", help="Only models with these labels.")
    ] = "",
    run: RunOption = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="COLUMN,...",
            help="Only these columns, in this order. Default: all; in .md and .tex those that fit on a page.",
        ),
    ] = None,
    width: Annotated[
        float,
        typer.Option(
            "--width", min=3, callback=finite, metavar="CM", help="Width of the page, for .tex, in centimetres."
        ),
    ] = 12.1,
    list_columns: Annotated[
        bool, flag("--list", help="Say which columns the table has and what they mean, and write nothing.")
    ] = False,
    force: Annotated[bool, flag("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Write the database as a table, for pandas and for papers."""
    from patterndb.exports.columns import require_table
    from patterndb.exports.files import require_format, require_writable, write_pieces

    require_table(table)
    if list_columns:
        _list(table, session_of(context).output())
        return
    if file is None:
        raise SettingsError(
            "Name a file to write.", hint="Its suffix is the format, as in `dna-zoo export catalog.csv`."
        )
    require_format(file)
    require_writable(file, force=force)
    names = None if columns is None else [name.strip() for name in columns.split(",") if name.strip()]
    session = session_of(context)
    output = session.output()
    with session.database() as database:
        if database.path is not None and file.exists() and file.samefile(database.path):
            raise SettingsError(f"{str(file)!r} is the database itself.", hint="Name another file.")
        keys = _chosen(database, models or (), where)
        if run is not None:
            database.run(run)  # Raises if there is none.
        pieces = database.export_pieces(table, keys=keys, run=run, columns=names)
        rows = write_pieces(pieces, file, table=table, force=force, columns=names, width=width)
        mixed = database.mixed_settings(keys=keys, run=run, signatures_only=table in ("signatures", "distances"))
    output.note(f"Wrote {count(rows)} {'row' if rows == 1 else 'rows'} of {table} to {file}.")
    output.mixed(mixed)


def _list(table: str, output: "Output") -> None:
    from patterndb.exports.columns import COLUMN_MEANINGS

    meanings = COLUMN_MEANINGS[table]
    rows = ((f"[bold]{escaped(name)}[/bold]", escaped(meaning)) for name, meaning in meanings.items())
    output.result(lambda: dict(meanings), bare=meanings, draw=lambda: [make_facts(rows)])


def _chosen(database: "PatternDatabase", models: Sequence[str], where: str) -> list[str] | None:
    """Keys of the models that are asked for; None for all. Raises `NotMinedError` where none is left."""
    if not where:
        return list(models) or None
    # Labels come with the statistics of questions, half a second that no other export needs.
    from library.patterns.selections import describes, parse_where

    labels = parse_where(where)
    if not labels:
        return list(models) or None
    for key in models:
        database.removal_of(key)  # Raises for one that is not there, as without labels.
    found = [each.model.key for each in database.models() if describes(labels, each.model)]
    chosen = [key for key in models if key in found] if models else found
    if not chosen:
        raise NotMinedError(f"No mined model has {where!r}.", hint="See `dna-zoo models` for what there is.")
    return chosen
