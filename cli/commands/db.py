"""`dna-zoo db`: the schema of the pattern database."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from cli import errors
from cli.options import FormatOption
from cli.output import Column, Format, Output, escaped, make_table
from cli.session import session_of

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["EXAMPLES", "check", "current", "db", "upgrade"]

EXAMPLES = ("dna-zoo db upgrade", "dna-zoo --db postgresql://me@localhost/zoo db upgrade", "dna-zoo db check")


def db(context: typer.Context) -> None:
    """Make, upgrade or check the schema of the pattern database."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def upgrade(context: typer.Context) -> None:
    """Bring the database to this version's schema, making it if there is none."""
    from patterndb import schema

    session = session_of(context)
    if session.db is None:
        session.make_home()
    revision = schema.upgrade(session.database_url)
    Output(verbosity=session.verbosity).note(f"The database has schema {revision}.")


def current(context: typer.Context, output_format: FormatOption = Format.TABLE) -> None:
    """Say which schema the database has, and which one this version needs."""
    from patterndb import schema

    session = session_of(context)
    found = schema.current(session.database_url)
    rows = (("in the database", found or "none"), ("needed", schema.HEAD))
    Output(output_format, verbosity=session.verbosity).result(
        lambda: {"current": found, "head": schema.HEAD},
        bare=(found or "",),
        draw=lambda: [make_table((Column("Schema"), Column("Version", right=True)), rows)],
    )


def check(context: typer.Context, output_format: FormatOption = Format.TABLE) -> int:
    """Compare the database's tables with what this version declares; exit 1 if they differ."""
    from patterndb import schema

    session = session_of(context)
    output = Output(output_format, verbosity=session.verbosity)
    differences = schema.check(session.database_url)
    output.result(
        lambda: {"head": schema.HEAD, "differences": list(differences)},
        bare=differences,
        draw=lambda: [_difference_table(differences)] if differences else [],
    )
    if not differences:
        output.note(f"The database is as schema {schema.HEAD} declares it.")
    return errors.FAILED if differences else errors.DONE


def _difference_table(differences: Sequence[str]) -> "RenderableType":
    """One row a difference."""
    return make_table((Column("Difference", wraps=True),), ([escaped(text)] for text in differences))
