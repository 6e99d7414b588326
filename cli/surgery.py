"""What the commands of surgery share: models by key or folder, and the DNA of one."""

from pathlib import Path
from typing import TYPE_CHECKING

from cli.session import Session
from dna_zoo.errors import JoinError

if TYPE_CHECKING:
    from library.surgery import Loaded
    from library.surgery.transplantation import Resample

__all__ = ["donor_dna", "opened"]


def opened(session: Session, *names: str) -> "list[Loaded]":
    """The models of these keys or folders. The database is opened only if a name is no folder."""
    from library.models import open_model
    from library.surgery.folders import folder_of

    if all(Path(name).expanduser().is_dir() for name in names):
        folders = [folder_of(name, None, home=session.home) for name in names]
    else:
        with session.database() as database:
            folders = [folder_of(name, database, home=session.home) for name in names]
    return [open_model(folder, name=Path(name).name) for folder, name in zip(folders, names, strict=True)]


def donor_dna(session: Session, name: str, donor: "Loaded") -> "Resample":
    """The DNA of a mined key, as a function that gives its tensors at other shapes."""
    from library.surgery.resampling import resampler

    if Path(name).expanduser().is_dir():
        raise JoinError(
            f"{name!r} is a folder, and resampling needs a DNA.", hint="Mine it, and name it by its key in `--from`."
        )
    with session.database() as database:
        return resampler(database, name, donor, home=session.home)
