"""The Hugging Face Hub and its cache on this disk, through the real client.

The client reads `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_OFFLINE` into constants when it is imported; here they are read
when a question is asked. Only `head`, `list_files` and `download` send requests; what the client raises comes out
translated.
"""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dna_zoo.errors import DiskFullError, IncompleteDownloadError
from dna_zoo.text import plain_address
from pipeline.fetch.answers import LARGEST_ANSWER, watched_answers
from pipeline.fetch.errors import client_errors, no_hub_error

__all__ = [
    "HubFile",
    "cache_dir",
    "cached_path",
    "download",
    "endpoint",
    "forget",
    "head",
    "is_hex",
    "is_offline",
    "is_repo_id",
    "list_files",
    "require_space",
    "shown_endpoint",
]

_TRUE = {"1", "ON", "YES", "TRUE"}
_REPO_ID = re.compile(r"(?!.*(?:--|\.\.))\w(?:[\w.-]*\w)?/\w(?:[\w.-]{0,94}\w)?", re.ASCII)
_HEX = frozenset("0123456789abcdef")
SILENCE = 10.0
"""Seconds that a server may say nothing: asked for a list of files, the client itself would wait for ever."""
LARGEST_LIST = 64 << 20
"""Bytes of the list of a repository's files; one of 100,000 files has 10 MB."""
_MAX_RESTARTS: Final = 2
_SPARE_BYTES: Final = 1 << 20  # For links, locks and records beside the files.


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file of a repository at one commit, as the server describes it."""

    repo: str
    name: str
    revision: str
    """The commit, 40 hex, that the asked revision stands for."""
    etag: str
    """sha256 for a file in LFS, git's blob sha1 for others."""
    num_bytes: int | None


def endpoint() -> str:
    """Address of the Hub: `HF_ENDPOINT`, or huggingface.co."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def shown_endpoint() -> str:
    """`endpoint` as it may be shown: it may hold a password."""
    return plain_address(endpoint())


def cache_dir() -> Path:
    """Folder of the Hugging Face cache, found as the client finds it."""
    environ = os.environ
    if explicit := environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(os.path.expandvars(explicit)).expanduser()
    caches = environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = environ.get("HF_HOME") or os.path.join(caches, "huggingface")
    return Path(os.path.expandvars(home)).expanduser() / "hub"


def is_offline() -> bool:
    """Whether the environment forbids requests (`HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`)."""
    return any(os.environ.get(name, "").upper() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def is_repo_id(name: str) -> bool:
    """Whether `name` has the form of a Hub id, `organisation/model`, as the client would accept it."""
    return bool(_REPO_ID.fullmatch(name)) and not name.endswith(".git")


def is_hex(text: str, length: int) -> bool:
    """Whether `text` is that many lower-case hexadecimal digits."""
    return len(text) == length and _HEX.issuperset(text)


def cached_path(repo: str, name: str, revision: str | None) -> Path | None:
    """The file in the cache at that commit (None: at the commit the cache knows as `main`). Sends no request."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, name, cache_dir=cache_dir(), revision=revision)
    return Path(found) if isinstance(found, str) else None


def head(repo: str, name: str, revision: str | None) -> HubFile | None:
    """Ask for one file's commit, checksum and size; None if the commit has no such file."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    with client_errors(repo, revision, shown_endpoint()), watched_answers(shown_endpoint(), most=LARGEST_ANSWER):
        url = hf_hub_url(repo, name, revision=revision, endpoint=endpoint())
        try:
            metadata = get_hf_file_metadata(url, endpoint=endpoint(), timeout=SILENCE)
        except HfHubHTTPError as error:
            if isinstance(error, EntryNotFoundError) or _is_plain_404(error):
                return None
            raise
    if metadata.commit_hash is None or metadata.etag is None:
        raise no_hub_error(shown_endpoint())
    return HubFile(repo=repo, name=name, revision=metadata.commit_hash, etag=metadata.etag, num_bytes=metadata.size)


def list_files(repo: str, revision: str | None) -> tuple[str, tuple[str, ...]]:
    """Ask for the names of all files of a commit; the commit, 40 hex, and the names."""
    from huggingface_hub import HfApi

    with client_errors(repo, revision, shown_endpoint()), watched_answers(shown_endpoint(), most=LARGEST_LIST):
        info = HfApi(endpoint=endpoint()).model_info(repo, revision=revision or "main", timeout=SILENCE)
    if info.sha is None or not is_hex(info.sha, 40):
        raise no_hub_error(shown_endpoint())
    return info.sha, tuple(file.rfilename for file in info.siblings or ())


def _is_plain_404(error: Any) -> bool:
    """Whether a mirror says no more than 404, where the Hub says what it is that does not exist."""
    return error.response.status_code == 404 and "X-Error-Code" not in error.response.headers


def download(repo: str, name: str, revision: str, on_bytes: Callable[[int], None], *, most: int | None = None) -> Path:
    """Bring the file into the cache and say where it is; nothing half-written stays behind when that fails.

    - `most`: bytes that the file has as it was announced; a server that sends more is left. None where it did not say.
    """
    from huggingface_hub import hf_hub_download

    with (
        client_errors(repo, revision, shown_endpoint(), downloading=name),
        watched_answers(shown_endpoint(), most=most),
    ):
        path = hf_hub_download(
            repo,
            name,
            revision=revision,
            endpoint=endpoint(),
            cache_dir=cache_dir(),
            tqdm_class=_progress_class(on_bytes, name),
        )
    return Path(path)


def forget(path: Path) -> None:
    """Take a file that we just downloaded, and found damaged, out of the cache again: the link and the blob."""
    blob = path.resolve()
    path.unlink(missing_ok=True)
    blob.unlink(missing_ok=True)


def require_space(num_bytes: int) -> None:
    """Raise `DiskFullError` if the cache's disk has no room for so many bytes more."""
    folder = cache_dir()
    while not folder.exists():
        folder = folder.parent
    total, _, free = shutil.disk_usage(folder)
    if total and num_bytes + _SPARE_BYTES > free:  # Not every file system tells its size.
        raise DiskFullError(
            f"The download takes {num_bytes / 1e6:,.1f} MB, and the disk of {str(cache_dir())!r} has"
            f" {free / 1e6:,.1f} MB free.",
            hint="Free some space, or set HF_HOME to a folder on a larger disk.",
        )


def _progress_class(on_bytes: Callable[[int], None], name: str) -> Any:
    """A tqdm that passes on how many bytes of the file arrived, and draws nothing.

    It also ends what the client would repeat for ever: a server that ignores `Range` and always breaks off.
    """
    from huggingface_hub.utils.tqdm import tqdm

    restarts = 0

    class Progress(tqdm):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(disable=True)  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            nonlocal restarts
            restarts += (n or 0) < 0
            if restarts > _MAX_RESTARTS:
                raise IncompleteDownloadError(
                    f"The server broke off {name!r} {restarts} times.", hint="Try again later."
                )
            on_bytes(int(n or 0))

        # The Xet transport counts bytes on the wire apart from bytes in the file; only the file's are of use here.
        def update_transfer(self, n: float | None = 1) -> None:
            pass

        def set_transfer_postfix_str(self, *args: object, **kwargs: object) -> None:
            pass

    return Progress
