"""What a database's driver complains of, as our errors: one sentence on what happened, one on what to do."""

import re
from pathlib import Path

from dna_zoo.errors import StoreError

__all__ = ["CREDENTIALS", "file_failure", "first_line", "no_driver", "refused", "unreachable", "without_password"]

CREDENTIALS = re.compile(r"//[^/]*@|password=[^&\s]*", re.IGNORECASE)
PASSWORD = re.compile(r"(//[^/@:]*:)[^/@]*(?=@)|password=[^&\s]*", re.IGNORECASE)
DAMAGED = ("is not a usable SQLite database", "Name another file with `--db`, or restore this one from a copy.")
SQLITE_TROUBLE = {
    "not a database": DAMAGED,
    "malformed": DAMAGED,
    "locked": ("is busy", "Try again when the other process has finished."),
    "is full": ("has no room", "Free some space on its disk and run the same command again."),
    "readonly": ("cannot be written", "Give yourself write access to the file and its directory."),
}
"""What SQLite's messages contain, what we say of the database, and what to do."""


def without_password(url: str) -> str:
    """A database's URL as it may be shown."""
    return PASSWORD.sub(lambda found: f"{found[1] or 'password='}***", url)


def first_line(error: BaseException) -> str:
    """The driver's own first line, without a full stop and without credentials."""
    text = str(error).strip() or type(error).__name__
    return CREDENTIALS.sub("***", text.splitlines()[0]).rstrip(".")


def file_failure(error: BaseException, where: str, path: Path) -> StoreError:
    """What SQLite's driver said of the file at `path`, shown as `where`."""
    reason = first_line(error)
    if "unable to open" in reason:
        return StoreError(f"Cannot open {where}: {reason}.", hint=_unopened_hint(path))
    for fragment, (message, hint) in SQLITE_TROUBLE.items():
        if fragment in reason:
            return StoreError(f"{where} {message}: {reason}.", hint=hint)
    return refused(error, where)


def unreachable(error: BaseException, where: str) -> StoreError:
    """What a driver said of a server that it could not talk to."""
    hint = "Check that the server runs, and the host, user, password and database in `--db`."
    return StoreError(f"No connection to {where}: {first_line(error)}.", hint=hint)


def no_driver() -> StoreError:
    """Of PostgreSQL."""
    hint = "Install it with `pip install 'dna-zoo[postgres]'`."
    return StoreError("The PostgreSQL driver psycopg is not installed.", hint=hint)


def refused(error: BaseException, where: str) -> StoreError:
    """What a driver said of a database that is there and does not do as it is told."""
    hint = "Run `dna-zoo db check`; nothing of the operation was kept."
    return StoreError(f"{where} refused the operation: {first_line(error)}.", hint=hint)


def _unopened_hint(path: Path) -> str:
    """Why SQLite might fail to open the file."""
    if not path.parent.exists():
        return f"Create the directory {str(path.parent)!r} first."
    if path.is_dir():
        return "It is a directory: name a file in it."
    return f"Check that you may read and write {str(path)!r} and its directory."
