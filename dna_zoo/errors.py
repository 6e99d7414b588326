"""Everything dna-zoo raises on purpose.

    DnaZooError
    ├── UnknownModelError (LookupError)
    ├── SettingsError (ValueError)
    ├── FetchError
    │   ├── GatedModelError
    │   ├── OfflineError
    │   ├── RevisionNotFoundError
    │   ├── RateLimitError
    │   ├── IncompleteDownloadError
    │   ├── DiskFullError
    │   ├── DamagedFileError
    │   ├── UnsafeFileError
    │   ├── NoWeightsError
    │   └── WeightsChangedError
    ├── ExtractError
    │   ├── NonFiniteWeightsError
    │   └── PartialModelError
    ├── FitDivergedError
    ├── OutputError
    ├── UnbuildableModelError
    ├── JoinError
    ├── ArtifactError
    ├── ClusterError
    ├── DnaFileError
    ├── UnknownTensorError (LookupError)
    ├── LibraryError
    └── StoreError
        ├── ConnectionLostError
        ├── DamagedRowsError
        ├── NotMinedError (LookupError)
        ├── RecordRefusedError
        └── SchemaVersionError

Each carries two sentences: what happened, and what to do (`hint`). `str(error)` is the first alone.
"""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "ArtifactError",
    "ClusterError",
    "ConnectionLostError",
    "DamagedFileError",
    "DamagedRowsError",
    "DiskFullError",
    "DnaFileError",
    "DnaZooError",
    "ExtractError",
    "FetchError",
    "FitDivergedError",
    "GatedModelError",
    "IncompleteDownloadError",
    "JoinError",
    "LibraryError",
    "NoWeightsError",
    "NonFiniteWeightsError",
    "NotMinedError",
    "OfflineError",
    "OutputError",
    "PartialModelError",
    "RateLimitError",
    "RecordRefusedError",
    "RevisionNotFoundError",
    "SchemaVersionError",
    "SettingsError",
    "StoreError",
    "UnbuildableModelError",
    "UnknownModelError",
    "UnknownTensorError",
    "UnsafeFileError",
    "WeightsChangedError",
    "did_you_mean",
]

LONGEST = 2_000
"""Characters of a sentence: names in it may be strangers', and as long as a book."""
LONGEST_NAME = 200
"""Characters of what somebody may have meant to type."""


def _short(text: str) -> str:
    """The text without its middle where it is longer than a sentence can be."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 4 :]}"


class DnaZooError(Exception):
    """What happened, in one sentence, and what to do about it (`hint`), in another."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message, self.hint = _short(message), _short(hint)
        super().__init__(self.message)


class UnknownModelError(DnaZooError, LookupError):
    """The name is neither a card of the zoo nor a directory nor a repository."""


class SettingsError(DnaZooError, ValueError):
    """A setting is out of its range, or two settings contradict each other."""


class FetchError(DnaZooError):
    """The weights could not be fetched."""


class GatedModelError(FetchError):
    """The repository asks for a licence to be accepted or for a token (HTTP 401 or 403)."""


class OfflineError(FetchError):
    """The network is off or cannot be reached, and the file is not in the cache."""


class RevisionNotFoundError(FetchError):
    """The repository exists, but the pinned revision or the file in it does not (HTTP 404)."""


class RateLimitError(FetchError):
    """The hub asks to try again later (HTTP 429)."""


class IncompleteDownloadError(FetchError):
    """Fewer bytes arrived than were announced."""


class DiskFullError(FetchError):
    """There is no space on the disk for the file."""


class DamagedFileError(FetchError):
    """A file does not agree with its checksum, its size or its format."""


class UnsafeFileError(FetchError):
    """A pickle wants to run code. It was not run."""


class NoWeightsError(FetchError):
    """The directory or repository holds no file of weights that dna-zoo reads."""


class WeightsChangedError(FetchError):
    """The weights on this machine are not the ones that were mined."""


class ExtractError(DnaZooError):
    """The weight file is there, but it cannot be read as tensors."""


class NonFiniteWeightsError(ExtractError):
    """A tensor holds NaN or infinity."""


class PartialModelError(ExtractError):
    """A considerable share of a model's weights cannot be read."""


class FitDivergedError(DnaZooError):
    """Loss or gradient norm became non-finite during a fit."""


class OutputError(DnaZooError):
    """A folder or file that was asked for is there already, or cannot be written."""


class UnbuildableModelError(DnaZooError):
    """No class of transformers makes the model that a folder's config.json and weights describe."""


class JoinError(DnaZooError):
    """Two models, or a model and a task, cannot be joined."""


class ArtifactError(DnaZooError):
    """A file of a pattern cannot be kept at its URL, or had from there."""


class ClusterError(DnaZooError):
    """The machines that a run was given to cannot be reached any more."""


class DnaFileError(DnaZooError):
    """A file of DNA cannot be read, or not by this version."""


class UnknownTensorError(DnaZooError, LookupError):
    """The DNA has no tensor of that name."""


class LibraryError(DnaZooError):
    """A shared pattern cannot be built, found, read or used."""


class StoreError(DnaZooError):
    """The pattern database could not be opened, read or written."""


class ConnectionLostError(StoreError):
    """The database's server does not answer, or ended the connection; what was asked may be asked again."""


class DamagedRowsError(StoreError):
    """Rows of the database are not as they were written."""


class NotMinedError(StoreError, LookupError):
    """The model has no pattern in this database."""


class RecordRefusedError(StoreError):
    """The database works and does not take these rows; others it takes."""


class SchemaVersionError(StoreError):
    """The database has another schema than this version of dna-zoo."""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`Did you mean 'a' or 'b'?` of up to three names that look like `name`, the closest first; else nothing.

    Of a Hub id, the part after the slash is recognised too: people type it alone. Nothing is like a very long text,
    which would take the square of its length to find.
    """
    if len(name) > LONGEST_NAME:
        return ""
    spellings: dict[str, str] = {}
    for each in names:
        spellings.setdefault(each.lower(), each)
        spellings.setdefault(each.rpartition("/")[2].lower(), each)
    close = get_close_matches(name.lower(), spellings, n=6, cutoff=0.6)
    near = list(dict.fromkeys(spellings[match] for match in close))[:3]
    return f"Did you mean {' or '.join(map(repr, near))}?" if near else ""
