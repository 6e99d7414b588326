"""What a model is asked for by, and what fetching it would take."""

from dataclasses import dataclass
from pathlib import Path

from dna_zoo.errors import SettingsError
from pipeline.fetch.hub import is_hex
from pipeline.settings import AdapterUse
from pipeline.weights.files import Origin
from zoo.cards import ModelCard

__all__ = ["FetchPlan", "ModelRequest", "PlannedFile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A model as a person names it: a card's key, a Hub id or a directory, perhaps with the file to take."""

    name: str
    weights: Path | None = None
    """A file or directory to read instead of looking for the name's own."""
    key: str | None = None
    """What to call it in the database; None leaves that to the card, the Hub id or the directory's name."""
    revision: str | None = None
    """A commit of the Hub; None means the card's pin, or the commit stored at the first download."""
    state_dict: str | None = None
    """Key of the weights in a checkpoint that holds several sets of them, dots between levels."""
    adapter: AdapterUse = "merged"
    """What to make of an adapter: its base with the updates added, or the updates alone."""
    base: str | None = None
    """The model that an adapter was trained on; None leaves that to the adapter's own configuration."""

    component: str | None = None
    """The folder below the repository or directory, where it holds several models and this is one of them; "" for the
    one in the folder itself, None before anybody has looked."""

    def __post_init__(self) -> None:
        if self.revision is not None and not is_hex(self.revision, 40):
            raise SettingsError(
                f"`revision` is {self.revision!r}, which is not a commit.",
                hint="Give the 40 hexadecimal digits of a commit, or none to have the newest resolved and stored.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFile:
    """One file that a model needs."""

    name: str
    num_bytes: int | None
    """None where the server does not say."""
    path: Path | None
    """Where it is; None if it must be downloaded."""
    sha256: str | None = None
    """What it must be, where that is known beforehand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchPlan:
    """What fetching a model would take: all that is known before a byte of its weights is downloaded."""

    key: str
    repo: str | None
    revision: str | None
    origin: Origin
    """`hub` if anything is left to download."""
    weights: tuple[PlannedFile, ...]
    config: PlannedFile | None
    """None where the model has no `config.json`, or it is out of reach."""
    adapter: PlannedFile | None = None
    """`adapter_config.json`, where the weights are an adapter's."""
    card: ModelCard | None = None
    notes: tuple[str, ...] = ()
    """What was chosen where a folder left a choice."""

    @property
    def missing(self) -> tuple[PlannedFile, ...]:
        """The files that must be downloaded."""
        files = (*self.weights, self.config, self.adapter)
        return tuple(file for file in files if file is not None and file.path is None)

    @property
    def download_bytes(self) -> int:
        """Bytes to download; files of unknown size count as nothing."""
        return sum(file.num_bytes or 0 for file in self.missing)

    @property
    def num_bytes(self) -> int:
        """Bytes of the weights, downloaded or not."""
        return sum(file.num_bytes or 0 for file in self.weights)
