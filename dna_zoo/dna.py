"""The DNA of a model, from its file or by the model's key."""

from pathlib import Path

from dna_zoo.errors import DnaFileError
from pipeline.dna.dna import Dna, DnaTensor
from pipeline.dna.file import DNA_FILE

__all__ = ["Dna", "DnaTensor", "load_dna"]


def load_dna(path_or_key: str | Path, *, database: str | Path | None = None, home: str | Path | None = None) -> Dna:
    """A DNA from its file, or from the folder that a run left of a model, or by the key of a mined model.

    - `database`, `home`: as in `dna_zoo.open`; looked at for a key alone.

    What is there as a path is taken for one. Raises `DnaFileError` for a file that cannot be read, `NotMinedError` for
    a key that is not in the database, `StoreError` where there is no database.
    """
    path = Path(path_or_key).expanduser()
    if path.is_dir():
        return Dna.load(_in_folder(path))
    if path.exists() or path.suffix in (".safetensors", ".pt"):
        return Dna.load(path)
    # A file needs no database, nor what reads one.
    from dna_zoo.zoo import open as open_zoo

    with open_zoo(database, home=home) as zoo:
        return zoo[str(path_or_key)].dna()


def _in_folder(folder: Path) -> Path:
    """The DNA's file in a folder of a run, or beside its other files."""
    found = [path for path in (folder / DNA_FILE, folder / "checkpoints" / DNA_FILE) if path.exists()]
    if not found:
        raise DnaFileError(f"{str(folder)!r} holds no {DNA_FILE}.", hint="Give the file itself, or the key of a model.")
    return found[0]
