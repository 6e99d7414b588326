"""A Hugging Face Hub on 127.0.0.1, small but good enough for the real client, with faults to switch on.

`with LoopbackHub() as hub:` serves until the end of the block. `hub.add(repo, files)` puts a repository there,
`hub.fault` breaks the answers, `hub.requests` lists what was asked.
"""

import gzip
import hashlib
import json
import re
import threading
import zlib
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

__all__ = ["BOMB", "Fault", "LoopbackHub", "Repository"]

_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")
_API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/(?P<what>revision|tree)/(?P<revision>[^/]+)")

OUT = "../../../../escaped"
"""From where the cache keeps what it calls by checksums and commits, out of it."""
BOMB = 1 << 29


class Fault(StrEnum):
    """One way in which the hub misbehaves until `LoopbackHub.fault` is reset."""

    GATED = "gated"
    """403 with X-Error-Code: GatedRepo."""
    UNAUTHORIZED = "unauthorized"
    """401 with X-Error-Code: GatedRepo."""
    FORBIDDEN = "forbidden"
    """403 without a code: a token without the right."""
    RATE_LIMIT = "rate limit"
    """429 to everything, Retry-After: 3600."""
    RATE_LIMIT_ON_GET = "rate limit on get"
    SERVER_ERROR = "server error"
    """503 to everything."""
    BROKEN_OFF = "broken off"
    """The connection closes after half of every body; Range is ignored."""
    BROKEN_OFF_ONCE = "broken off once"
    """The first body breaks off half way, the rest is sent on request."""
    SHORT_BODY = "short body"
    """GET announces and sends half of what HEAD announced."""
    FLIPPED_BYTE = "flipped byte"
    HUGE = "huge"
    """HEAD announces a petabyte."""
    PLAIN_404 = "plain 404"
    """Nothing is found and no X-Error-Code says why."""
    NOT_A_HUB = "not a hub"
    """200 without the Hub's headers: a proxy's own page."""
    PACKED = "packed"
    """JSON comes with Content-Encoding: gzip, as from the Hub."""
    CHECKSUM_LEADS_OUT = "checksum leads out"
    """The checksum is a path out of the cache."""
    COMMIT_LEADS_OUT = "commit leads out"
    """The commit is a path out of the cache."""
    LONGER_BODY = "longer body"
    """GET sends more bytes than HEAD announced."""
    BOMB = "bomb"
    """JSON comes with Content-Encoding: gzip, and has half a gigabyte when unpacked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """Files at one commit, which `main` also names."""

    files: dict[str, bytes]
    commit: str

    def etag(self, name: str) -> str:
        """sha256 for what LFS would keep, git's blob sha1 for the rest."""
        content = self.files[name]
        if name.endswith(".json"):
            return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return hashlib.sha256(content).hexdigest()


@dataclass
class LoopbackHub:
    """The server; see the module."""

    fault: Fault | None = None
    requests: list[str] = field(default_factory=list)
    """`METHOD path`, in order."""
    repositories: dict[str, Repository] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def add(self, repo: str, files: dict[str, bytes], commit: str = "c" * 40) -> Repository:
        self.repositories[repo] = Repository(files=dict(files), commit=commit)
        return self.repositories[repo]

    def environment(self, hf_home: Path) -> dict[str, str]:
        """The variables that send the client here, with its cache under `hf_home`."""
        return {"HF_ENDPOINT": self.url, "HF_HOME": str(hf_home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}


def _bomb() -> bytes:
    """Zeros, packed a little at a time."""
    packer, piece = zlib.compressobj(wbits=16 + zlib.MAX_WBITS), bytes(1 << 20)
    return b"".join(packer.compress(piece) for _ in range(BOMB >> 20)) + packer.flush()


def _handler_of(hub: LoopbackHub) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        pass

    Handler.hub = hub
    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LoopbackHub

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if path == "/api/agent-harnesses":
            self._json({"standardEnvVars": [], "harnesses": {}})
        elif self._refused():
            pass
        elif match := _RESOLVE.fullmatch(path):
            self._resolve(match["repo"], match["revision"], match["name"])
        elif match := _API.fullmatch(path):
            self._describe(match["repo"], match["what"], match["revision"])
        else:
            self._send(404, b"", {})

    def _refused(self) -> bool:
        """Whether the fault is one that needs no look at the path; then the answer is sent."""
        fault = self.hub.fault
        if fault is Fault.RATE_LIMIT or (fault is Fault.RATE_LIMIT_ON_GET and self.command == "GET"):
            self._send(429, b"slow down", {"Retry-After": "3600"})
        elif fault in (Fault.GATED, Fault.UNAUTHORIZED):
            self._send(403 if fault is Fault.GATED else 401, b"", {"X-Error-Code": "GatedRepo"})
        elif fault is Fault.FORBIDDEN:
            self._send(403, b"", {"X-Error-Message": "no right"})
        elif fault is Fault.SERVER_ERROR:
            self._send(503, b"", {})
        elif fault is Fault.PLAIN_404:
            self._send(404, b"", {})
        elif fault is Fault.NOT_A_HUB:
            self._send(200, b"<html>log in</html>", {})
        else:
            return False
        return True

    def _find(self, repo: str, revision: str) -> Repository | None:
        """The repository at that revision; if there is none the answer is sent."""
        found = self.hub.repositories.get(repo)
        if found is None:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", found.commit):
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            return None
        return found

    def _resolve(self, repo: str, revision: str, name: str) -> None:
        found = self._find(repo, revision)
        if found is None:
            return
        commit = {"X-Repo-Commit": self._commit(found)}
        if name not in found.files:
            self._send(404, b"", {**commit, "X-Error-Code": "EntryNotFound"})
            return
        body, etag = found.files[name], found.etag(name)
        if self.hub.fault is Fault.CHECKSUM_LEADS_OUT:
            etag = OUT
        headers = {**commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if not name.endswith(".json"):
            size = 10**15 if self.hub.fault is Fault.HUGE else len(body)
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(size)}
        self._send_file(name, body, headers)

    def _commit(self, found: Repository) -> str:
        return OUT if self.hub.fault is Fault.COMMIT_LEADS_OUT else found.commit

    def _send_file(self, name: str, body: bytes, headers: dict[str, str]) -> None:
        fault, is_get = self.hub.fault, self.command == "GET"
        is_weights = not name.endswith(".json")
        half = len(body) // 2
        if is_get and is_weights and fault is Fault.FLIPPED_BYTE:
            body = body[:half] + bytes([body[half] ^ 1]) + body[half + 1 :]
        if is_get and is_weights and fault is Fault.SHORT_BODY:
            body = body[:half]
        if is_get and fault is Fault.LONGER_BODY:
            body = 2 * body
        if is_get and not is_weights and fault in (Fault.PACKED, Fault.BOMB):
            self._send_packed(body)
            return
        if is_get and is_weights and fault in (Fault.BROKEN_OFF, Fault.BROKEN_OFF_ONCE):
            self.hub.fault = fault if fault is Fault.BROKEN_OFF else None
            self._send(200, body, headers, cut=half)
            return
        start = self._range_start()
        if is_get and start is not None:
            span = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self._send(206, body[start:], {**headers, "Content-Range": span})
        else:
            self._send(200, body, headers)

    def _range_start(self) -> int | None:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(match[1]) if match else None

    def _describe(self, repo: str, what: str, revision: str) -> None:
        found = self._find(repo, revision)
        if found is None:
            return
        sizes = [(name, len(content)) for name, content in sorted(found.files.items())]
        if what == "tree":
            self._json([{"type": "file", "path": n, "size": s, "oid": found.etag(n)} for n, s in sizes])
        else:
            siblings = [{"rfilename": n, "size": s, "blobId": found.etag(n)} for n, s in sizes]
            self._json({"_id": repo, "id": repo, "sha": self._commit(found), "siblings": siblings})

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        if self.hub.fault in (Fault.PACKED, Fault.BOMB):
            self._send_packed(body)
        else:
            self._send(200, body, {"Content-Type": "application/json"})

    def _send_packed(self, body: bytes) -> None:
        body = gzip.compress(body) if self.hub.fault is Fault.PACKED else _bomb()
        self._send(200, body, {"Content-Type": "application/json", "Content-Encoding": "gzip"})

    def _send(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        """The answer; with `cut` the connection closes after that many bytes of an announced body."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:cut])
        self.close_connection = self.close_connection or cut is not None
