"""`dna-zoo db`: the schema of the pattern database."""

import typer

from cli import errors
from cli.numbers import count
from cli.options import FormatOption
from cli.output import Format
from cli.session import Session, session_of
from cli.tables import Column, escaped, make_table

__all__ = ["EXAMPLES", "check", "current", "db", "index", "upgrade"]

EXAMPLES = (
    "dna-zoo db upgrade",
    "dna-zoo db upgrade --db postgresql://me@localhost/zoo",
    "dna-zoo db check",
    "dna-zoo db index",
)


def db(context: typer.Context) -> None:
    """Create, upgrade or check the schema of the pattern database."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def upgrade(context: typer.Context) -> None:
    """Upgrade the database to this version's schema, or create it if there is none."""
    from patterndb import schema

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
    from patterndb import schema

    session = session_of(context)
    found = schema.current(session.database_url)
    rows = (("in the database", found or "none"), ("needed", schema.head()))
    session.output(output_format).result(
        lambda: {"current": found, "head": schema.head()},
        bare=(found or "",),
        draw=lambda: [make_table((Column("Schema"), Column("Version", right=True)), rows)],
    )


def check(context: typer.Context, output_format: FormatOption = Format.TABLE) -> int:
    """Compare the database's tables with those this version needs; exit code 1 if they differ."""
    from patterndb import schema

    session = session_of(context)
    output = session.output(output_format)
    differences = schema.check(session.database_url)
    output.result(
        lambda: {"head": schema.head(), "differences": list(differences)},
        bare=differences,
        draw=lambda: [escaped(text) for text in differences],
    )
    if not differences:
        output.note(f"The database is as schema {schema.head()} declares it.")
    return errors.FAILED if differences else errors.DONE
