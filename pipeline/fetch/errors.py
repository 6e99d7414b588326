"""What the hub client and the disk raise, translated: one sentence on what happened, one on what to do.

The client's errors come from four families (its own, its HTTP library's, `OSError`, `ValueError`), and the one that
surfaces is often not the one that matters: a 429 arrives as "check your connection" with the truth in `__cause__`.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dna_zoo.errors import (
    DiskFullError,
    DnaZooError,
    FetchError,
    GatedModelError,
    IncompleteDownloadError,
    OfflineError,
    RateLimitError,
    RevisionNotFoundError,
    UnknownModelError,
)
from dna_zoo.files import NO_ROOM

__all__ = ["client_errors", "disk_errors", "no_hub_error", "rate_limit_error"]

_TOKEN_HINT = "Accept its terms on the model's page and set HF_TOKEN, or give the file with --weights KEY=PATH."
_OFFLINE_HINT = "Connect to the network, or give the file with --weights KEY=PATH."


@contextmanager
def client_errors(repo: str, revision: str | None, endpoint: str, downloading: str | None = None) -> Iterator[None]:
    """Turn whatever the hub client raises into a `DnaZooError`; `downloading` names the file while its bytes come."""
    try:
        yield
    except DnaZooError:
        raise
    except Exception as error:
        raise _translate(error, repo, revision, endpoint, downloading) from error


def _translate(
    error: Exception, repo: str, revision: str | None, endpoint: str, downloading: str | None
) -> DnaZooError:
    chain = _chain(error)
    for link in chain:
        if isinstance(link, DnaZooError):
            return link
    for link in chain:
        response = getattr(link, "response", None)
        if isinstance(getattr(response, "status_code", None), int):
            return _from_status(link, response, repo, revision, endpoint)
    for link in chain:
        if translated := _from_system(link, endpoint, downloading):
            return translated
    return FetchError(
        f"The hub client failed on {repo!r} ({type(error).__name__}).",
        hint="Run again with --debug to see where, or give the file with --weights KEY=PATH.",
    )


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what it was raised from or during, outermost first."""
    links: list[BaseException] = []
    pending: BaseException | None = error
    while pending is not None and pending not in links:
        links.append(pending)
        pending = pending.__cause__ or pending.__context__
    return links


def _from_status(error: BaseException, response: Any, repo: str, revision: str | None, endpoint: str) -> DnaZooError:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    status: int = response.status_code
    if isinstance(error, RepositoryNotFoundError) and not isinstance(error, GatedRepoError):
        return UnknownModelError(
            f"There is no repository {repo!r} at {endpoint}, or it is private.",
            hint="Check the spelling; for a private one set HF_TOKEN.",
        )
    if status in (401, 403):
        return GatedModelError(f"{endpoint} refuses access to {repo!r} (HTTP {status}).", hint=_TOKEN_HINT)
    if status == 404:
        return RevisionNotFoundError(
            f"{repo!r} has no revision {revision or 'main'!r} at {endpoint}.",
            hint="The repository may have been rewritten: give another commit, or the file with --weights KEY=PATH.",
        )
    if status == 429:
        return rate_limit_error(response, endpoint)
    return FetchError(f"{endpoint} answered HTTP {status} for {repo!r}.", hint="Try again later.")


def no_hub_error(endpoint: str) -> FetchError:
    """The error for a server that says what no hub says."""
    return FetchError(
        f"{endpoint} does not answer like a Hugging Face Hub.",
        hint="Check HF_ENDPOINT, or the proxy between here and the hub.",
    )


def rate_limit_error(response: Any, endpoint: str) -> RateLimitError:
    """The error for a response with status 429, with the time to wait where the server states one."""
    wait = response.headers.get("Retry-After", "")
    hint = f"Try again in {wait} seconds" if wait.isdigit() else "Try again in some minutes"
    return RateLimitError(
        f"{endpoint} has had too many requests from here (HTTP 429).",
        hint=f"{hint}; a token in HF_TOKEN raises the limit.",
    )


def _from_system(error: BaseException, endpoint: str, downloading: str | None) -> FetchError | None:
    """The error for trouble with the network or the disk; None for anything else."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, OSError) and (translated := _disk_error(error)):
        return translated
    if isinstance(error, OfflineModeIsEnabled):
        return OfflineError("The hub client is in offline mode.", hint="Unset HF_HUB_OFFLINE.")
    # The HTTP library changes its name with the client's version (httpx, httpx2), not its class names.
    families = {family.__name__ for family in type(error).__mro__}
    is_broken_off = bool(families & {"ReadError", "RemoteProtocolError", "TimeoutException"})
    if downloading and (is_broken_off or "Consistency check failed" in str(error)):
        return IncompleteDownloadError(
            f"Fewer bytes of {downloading!r} arrived than {endpoint} announced.", hint="Run the same command again."
        )
    if "ReadTimeout" in families:
        return OfflineError(
            f"{endpoint} took the question and did not answer.", hint="Try again later, or check HF_ENDPOINT."
        )
    if "TransportError" in families or isinstance(error, ConnectionError | TimeoutError):
        return OfflineError(f"{endpoint} cannot be reached.", hint=_OFFLINE_HINT)
    return None


@contextmanager
def disk_errors(home: Path | None = None) -> Iterator[None]:
    """Turn an `OSError` of the cache, of the home folder or of a file of weights into a `FetchError`.

    `home`: the folder that is written to, where that is not the download cache.
    """
    try:
        yield
    except OSError as error:
        if home is not None and error.errno in NO_ROOM:
            raise DiskFullError(
                f"The disk of {str(home)!r} is full.",
                hint="Free some space and run the same command again; what was finished is kept.",
            ) from error
        raise _disk_error(error) or FetchError(
            f"{error.filename or 'A file'} cannot be read or written ({error.strerror or error}).",
            hint="Check the disk and the folder's permissions.",
        ) from error


def _disk_error(error: OSError) -> FetchError | None:
    """The error for a disk that is full or may not be written; None for any other trouble."""
    if error.errno in NO_ROOM:
        return DiskFullError(
            "The disk is full: the download was broken off, and what had arrived is removed.",
            hint="Free some space, or set HF_HOME to a folder on a larger disk.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return FetchError(f"{error.filename or 'The cache'} cannot be written.", hint="Check its permissions.")
    return None
