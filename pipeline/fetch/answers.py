"""What a hub answers, held against what it may: the client trusts it with names of files, with memory and with time.

The client calls files of its cache by checksums and commits that the server tells, waits as long as the server says,
and takes as many bytes as come.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dna_zoo.errors import FetchError
from pipeline.fetch.errors import no_hub_error, rate_limit_error

__all__ = ["LARGEST_ANSWER", "watched_answers"]

LARGEST_ANSWER = 1 << 20
"""Bytes of what a hub says beside files and lists of them."""
CHECKSUMS = ("ETag", "X-Linked-Etag")
COMMIT = "X-Repo-Commit"
_PLAIN = re.compile(r'(?:W/)?"?[\w+=.-]{0,128}"?', re.ASCII)
"""A checksum that can be the name of a file, and of no other folder."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
PIECE = 1 << 16
"""Bytes that are unpacked at once."""
GZIP = 16 + zlib.MAX_WBITS


@contextmanager
def watched_answers(endpoint: str, *, most: int | None) -> Iterator[None]:
    """Look at each answer before the client does. In the block it raises `FetchError`

    - for a checksum or commit that no hub has, which would be a path out of the cache;
    - where more than `most` bytes come, unpacked; None is no limit, but for what is said of redirects and errors;
    - at once for a 429 (`RateLimitError`): the client would sleep through `Retry-After`, an hour if it says so, up to
      five times.
    """
    from huggingface_hub import get_session

    def look(response: Any) -> None:
        if response.status_code == 429:
            raise rate_limit_error(response, endpoint)
        if response.request.method == "HEAD":
            _require_names(response, endpoint)
        else:
            _limit(response, endpoint, most if response.is_success else LARGEST_ANSWER)

    client = get_session()
    hooks, headers = client.event_hooks, client.headers
    client.event_hooks = {**hooks, "response": [*hooks.get("response", []), look]}
    client.headers = {**headers, "Accept-Encoding": "gzip"}
    try:
        yield
    finally:
        client.event_hooks, client.headers = hooks, headers


def _require_names(response: Any, endpoint: str) -> None:
    """Raise `FetchError` for names of files in the cache that are none."""
    checksums = (response.headers.get(name, "") for name in CHECKSUMS)
    commit = response.headers.get(COMMIT)
    if not all(map(_PLAIN.fullmatch, checksums)) or not (commit is None or _COMMIT.fullmatch(commit)):
        raise no_hub_error(endpoint)


def _limit(response: Any, endpoint: str, most: int | None) -> None:
    """Have the body end with `FetchError` where it is longer than it may be; what is packed is unpacked on the way."""
    packed = response.headers.pop("Content-Encoding", "identity").lower()
    if packed not in ("gzip", "identity"):
        raise no_hub_error(endpoint)
    if packed == "gzip":
        response.headers.pop("Content-Length", None)
    response.stream = _limited(response.stream, _gunzip if packed == "gzip" else iter, endpoint, most)


def _limited(stream: Any, unpack: Callable[[Any], Iterator[bytes]], endpoint: str, most: int | None) -> Any:
    """The stream of bytes, unpacked and no longer than it may be."""
    # The HTTP library changes its name with the client's version, not its class names.
    base = next(each for each in type(stream).__mro__ if each.__name__ == "SyncByteStream")

    class Limited(base):  # type: ignore[valid-type,misc]
        def __iter__(self) -> Iterator[bytes]:
            taken = 0
            for piece in unpack(stream):
                taken += len(piece)
                if most is not None and taken > most:
                    raise FetchError(
                        f"{endpoint} sends more bytes than it announced, or than such an answer has ({most:,}).",
                        hint="Check HF_ENDPOINT, or give the file with --weights KEY=PATH.",
                    )
                yield piece

        def close(self) -> None:
            stream.close()

    return Limited()


def _gunzip(stream: Any) -> Iterator[bytes]:
    """What is packed in the pieces, a little at a time: a kilobyte may hold a megabyte."""
    unpacker = zlib.decompressobj(GZIP)
    for packed in stream:
        while packed:
            try:
                yield unpacker.decompress(packed, PIECE)
            except zlib.error as error:
                raise FetchError("The hub's answer cannot be unpacked.", hint="Run the same command again.") from error
            packed = b"" if unpacker.eof else unpacker.unconsumed_tail
    yield unpacker.flush()
