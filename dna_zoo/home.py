"""Where things are unless it is said otherwise: the home folder, and the database in it. The same for the command line
and for Python."""

import os
from pathlib import Path

__all__ = ["DATABASE_NAME", "artifacts_url", "database_url", "default_home", "home_folder", "sqlite_url"]

DATABASE_NAME = "dna-zoo.db"


def default_home() -> Path:
    """The platform's folder for user data; the same for `make mine` and for a bare `dna-zoo`."""
    from platformdirs import user_data_path

    return user_data_path("dna-zoo", appauthor=False)


def home_folder(given: str | Path | None = None) -> Path:
    """The home folder: as given, else DNA_ZOO_HOME, else the platform's."""
    named = given or os.environ.get("DNA_ZOO_HOME")
    return Path(named).expanduser() if named else default_home()


def artifacts_url(given: str | Path | None = None) -> str | None:
    """The store of artifacts: as given, else DNA_ZOO_ARTIFACTS, else none."""
    named = str(given) if given else os.environ.get("DNA_ZOO_ARTIFACTS")
    return named or None


def database_url(given: str | None, home: Path) -> str:
    """The database's URL, password and all: as given, else DNA_ZOO_DB, else the SQLite file in the home folder."""
    return given or os.environ.get("DNA_ZOO_DB") or sqlite_url(home / DATABASE_NAME)


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file, also where its path has signs that mean something in a URL."""
    # A question mark would end the path, and another file would be made; a % would be the first of three signs.
    return f"sqlite:///{str(path).replace('%', '%25').replace('?', '%3F')}"
