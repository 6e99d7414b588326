"""The DNA of a model, from its file or by the model's key."""

import json
from pathlib import Path

from dna_zoo.errors import DnaFileError
from dna_zoo.home import DATABASE_NAME, sqlite_url
from pipeline.dna.dna import Dna, DnaTensor
from pipeline.dna.file import DNA_FILE, unreadable

__all__ = ["Dna", "DnaTensor", "load_dna"]


def load_dna(path_or_key: str | Path, *, database: str | Path | None = None, home: str | Path | None = None) -> Dna:
    """A DNA from its file, or from the folder that a run left of a model, or by the key of a mined model.

    - `database`, `home`: as in `dna_zoo.open`; looked at for a key alone. Where no database is named and the home has
      none, the newest DNA of that key among the files of its runs is taken.

    What is there as a path is taken for one. Raises `DnaFileError` for a file that cannot be read, `NotMinedError` for
    a key that is not in the database, `StoreError` where there is no database.
    """
    path = Path(path_or_key).expanduser()
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:
        raise unreadable(path, error) from error
    if is_folder:
        return Dna.load(_in_folder(path))
    if is_there or path.suffix in (".safetensors", ".pt"):
        return Dna.load(path)
    # A file needs no database, nor what reads one.
    from dna_zoo.zoo import locate
    from dna_zoo.zoo import open as open_zoo

    url, folder = locate(database, home)
    if database is None and url == sqlite_url(folder / DATABASE_NAME) and not (folder / DATABASE_NAME).exists():
        found = _among_runs(str(path_or_key), folder)
        if found is not None:
            return Dna.load(found)
    with open_zoo(database, home=home) as zoo:
        return zoo[str(path_or_key)].dna()


def _among_runs(key: str, home: Path) -> Path | None:
    """The newest file of DNA that a run has left of the model."""
    found = [
        (summary.stat().st_mtime, summary.parent / "checkpoints" / DNA_FILE)
        for summary in (home / "runs").glob("*/*/summary.json")
        if _key_of(summary) == key
    ]
    return max((each for each in found if each[1].exists()), default=(0.0, None))[1]


def _key_of(summary: Path) -> str | None:
    """The key of the model that a summary is of; None where it cannot be read."""
    try:
        return str(json.loads(summary.read_bytes())["model"]["key"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _in_folder(folder: Path) -> Path:
    """The DNA's file in a folder of a run, or beside its other files."""
    found = [path for path in (folder / DNA_FILE, folder / "checkpoints" / DNA_FILE) if path.exists()]
    if not found:
        raise DnaFileError(f"{str(folder)!r} holds no {DNA_FILE}.", hint="Give the file itself, or the key of a model.")
    return found[0]
