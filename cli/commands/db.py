"""`dna-zoo db`: the schema of the pattern database."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import errors
from cli.numbers import count
from cli.options import FormatOption, flag
from cli.output import Format, Output
from cli.session import Session, session_of
from cli.tables import Column, escaped, make_table

if TYPE_CHECKING:
    from patterndb.copying import Copied

__all__ = ["EXAMPLES", "backup", "check", "copy", "current", "db", "index", "upgrade"]

EXAMPLES = (
    "dna-zoo db upgrade",
    "dna-zoo db upgrade --db postgresql://me@localhost/zoo",
    "dna-zoo db current",
    "dna-zoo db check --files",
    "dna-zoo db index",
    "dna-zoo db backup ./zoo-2026-11-28.db",
    "dna-zoo db copy sqlite:///zoo.db postgresql://me@localhost/zoo",
)


def db(context: typer.Context) -> None:
    """Create, upgrade, check and copy the pattern database."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def upgrade(context: typer.Context) -> None:
    """Upgrade the database to this version's schema, or create it if there is none."""
    from patterndb.connection import schema

    session = session_of(context)
    if session.db is None:
        session.make_home()
    revision = schema.upgrade(session.database_url)
    session.output().note(f"The database has schema {revision}.")
    _index(session)


def index(context: typer.Context) -> None:
    """Make what finds neighbours in a large database: pgvector's graphs on a server that has it, else files."""
    session = session_of(context)
    session.output().note(_index(session) or "This database needs no index, or its server has no pgvector.")


def _index(session: Session) -> str:
    """Bring it up to date; what there is then, if anything."""
    with session.database() as database:
        held = database.index()
    return f"{count(held)} signatures are indexed." if held else ""


def current(context: typer.Context, output_format: FormatOption = Format.TABLE) -> None:
    """Show which schema the database has, and which one this version needs."""
    from patterndb.connection import schema

    session = session_of(context)
    found = schema.current(session.database_url)
    rows = (("in the database", found or "none"), ("needed", schema.head()))
    session.output(output_format).result(
        lambda: {"current": found, "head": schema.head()},
        bare=(found or "",),
        draw=lambda: [make_table((Column("Schema"), Column("Version", right=True)), rows)],
    )


def check(
    context: typer.Context,
    files: Annotated[
        bool,
        flag(
            "--files",
            help="Also read every file that the database speaks of, in the home and in stores, and compare digests.",
        ),
    ] = False,
    output_format: FormatOption = Format.TABLE,
) -> int:
    """Compare tables with those of this version, and every row with its digest; exit code 1 if anything differs."""
    from patterndb.checking import damages
    from patterndb.connection import schema

    session = session_of(context)
    output = session.output(output_format)
    differences = schema.check(session.database_url)
    rows = tuple(damages(session.database_url))
    damaged = _damaged(session) if files else ()
    lines = (*differences, *rows, *damaged)
    output.result(
        lambda: {
            "head": schema.head(), "differences": list(differences), "damage": list(rows), "files": list(damaged)
        },
        bare=lines,
        draw=lambda: [escaped(text) for text in lines],
    )  # fmt: skip
    if not differences:
        output.note(f"The database is as schema {schema.head()} declares it.")
    if rows:
        output.hint("Restore the database from a backup, or mine those models again with --force.")
    else:
        output.note("Every row is as it was written.")
    if files and not damaged:
        output.note("Every file is as it was written.")
    if damaged:
        output.hint("Mine those models again with --force (and --artifacts), or name the home that they were mined in.")
    return errors.FAILED if lines else errors.DONE


def _damaged(session: Session) -> tuple[str, ...]:
    """Files, in the home and in stores of artifacts, that are missing or changed since they were written."""
    from pipeline.kept.artifacts import damaged_files

    with session.database() as database:
        return tuple(damaged_files(database.artifacts(), session.home))


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="SQLite file to write; it must not be there yet.")],
    output_format: FormatOption = Format.TABLE,
) -> None:
    """Copy the database into a new SQLite file, compared row by row. The files of the runs are not in it."""
    from patterndb.copying import back_up

    session = session_of(context)
    output = session.output(output_format)
    found = back_up(session.database_url, file.expanduser(), on_table=_teller(output))
    output.result(lambda: _copied(found), bare=(file,), draw=lambda: [escaped(f"{file}: {_told(found)}")])


def copy(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="FROM", help="URL of the database to copy.")],
    target: Annotated[
        str, typer.Argument(metavar="TO", help="URL of the database to copy into: empty, or a copy begun.")
    ],
    output_format: FormatOption = Format.TABLE,
) -> None:
    """Copy a database into another, on any engine; run it again after an interruption, and it goes on."""
    from patterndb.copying import copy_database

    output = session_of(context).output(output_format)
    found = copy_database(source, target, on_table=_teller(output))
    output.result(lambda: _copied(found), bare=(found.digest,), draw=lambda: [_told(found)])


def _teller(output: Output) -> Callable[[str, int], None]:
    """Tells of each table, where more is wanted than the end."""
    return lambda table, rows: output.note(f"{table}: {count(rows)} rows")


def _copied(found: "Copied") -> dict[str, Any]:
    return {"rows": dict(found.rows), "new_rows": found.new_rows, "sha256": found.digest}


def _told(found: "Copied") -> str:
    return f"{count(sum(found.rows.values()))} rows, {count(found.new_rows)} of them new; sha256 {found.digest}"
