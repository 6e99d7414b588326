"""The schema's version: what a database has, and what this version of dna-zoo needs."""

from dna_zoo.errors import SchemaVersionError
from patterndb.reading import Reader
from patterndb.transactions import Transactions

__all__ = ["HEAD", "current", "read_revision", "require_head"]

HEAD = "0004"
"""The newest migration. Written here so that reading commands need not load alembic; a test compares."""


def current(url: str) -> str | None:
    """The revision that the database says it has, None for one without any. Raises `StoreError`."""
    transactions = Transactions(url)
    try:
        with transactions._reading() as reader:
            return read_revision(reader)
    finally:
        transactions.close()


def read_revision(reader: Reader) -> str | None:
    """The revision in the database's own table of it, None if it has none."""
    if not reader.has_table("alembic_version"):
        return None
    found = [str(revision) for (revision,) in reader.cells("SELECT version_num FROM alembic_version")]
    return found[0] if found else None


def require_head(reader: Reader, where: str) -> None:
    """Raise `SchemaVersionError`, with the command that repairs it, unless the revision is `HEAD`."""
    revision = read_revision(reader)
    if revision == HEAD:
        return
    has = "no schema of dna-zoo" if revision is None else f"schema {revision}"
    # Revisions are numbers with leading zeros, so that older ones sort before newer ones.
    is_older = revision is None or revision < HEAD
    raise SchemaVersionError(
        f"{where} has {has}, this version of dna-zoo needs {HEAD}.",
        hint="Run `dna-zoo db upgrade`."
        if is_older
        else "Install the newer dna-zoo that wrote it, or name another with `--db`.",
    )
