"""Servers that say nothing, too much, or nonsense, in the place of a hub and of a database."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.hostile.place import Place, Trial
from benchmarks.hostile.product import checked, command
from benchmarks.hostile.strange import odd_text, odd_value, pick

__all__ = ["hub_answers", "silent_database"]

SILENCE = 0.3
"""Seconds after which a silent hub is left, in place of the product's ten: only the number is another one."""
Talk = Callable[[socket.socket], None]


@contextlib.contextmanager
def _server(talk: Talk) -> Iterator[int]:
    """The port of a server that does this with every connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    is_over = threading.Event()

    def serve() -> None:
        open_: list[socket.socket] = []
        while not is_over.is_set():
            with contextlib.suppress(TimeoutError, OSError):
                connection, _ = listener.accept()
                open_.append(connection)
                connection.settimeout(1)
                with contextlib.suppress(OSError):
                    talk(connection)
        for each in (*open_, listener):
            each.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        is_over.set()
        thread.join(2)


def _answer(head: bytes, body: bytes = b"") -> Talk:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(head + body)
        connection.shutdown(socket.SHUT_WR)

    return talk


def _silent(connection: socket.socket) -> None:
    """Says nothing."""


def _drip(connection: socket.socket) -> None:
    """Says a byte at a time, for ever as far as anybody waits."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-A: ")
    for _ in range(8):
        time.sleep(0.05)
        connection.sendall(b"a")


def _http(status: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode("utf-8", "replace") + body


def hub_answers(place: Place, rng: np.random.Generator) -> Trial:
    """A hub whose answers are silence, nonsense, huge, endless, forged or about other files than were asked for."""
    text = odd_text(rng)[:200].replace("\r", "").replace("\n", "")
    commit, blob = "a" * 40, pick(rng, ("b" * 64, "b" * 40, '"x"', text, "../../escaped", "", "W/"))
    good = {"X-Repo-Commit": commit, "ETag": f'"{blob}"', "Content-Length": "10"}
    document = json.dumps({"sha": odd_value(rng), "siblings": [{"rfilename": "../../escaped"}, odd_value(rng)]})
    status = pick(
        rng, ("200 OK", "302 Found", "401 No", "403 No", "404 No", "429 Wait", "500 Oops", "999 ?", "204 No", "301 x")
    )
    talks: tuple[Talk, ...] = (
        _silent,
        _drip,
        _answer(b""),
        _answer(b"\x00" * 1000),
        _answer(b"HTTP/1.1 200 OK\r\n"),
        _answer(rng.bytes(2000)),
        _answer(_http(status, good)),
        _answer(_http(status, good | {"X-Repo-Commit": text})),
        _answer(_http(status, good | {"X-Repo-Commit": "../../escaped"})),
        _answer(_http(status, good | {"Content-Length": pick(rng, ("-1", "9" * 30, "x", "0", str(2**40)))})),
        _answer(_http(status, good | {"X-Linked-Size": pick(rng, ("-1", "9" * 30, "x")), "X-Linked-Etag": text})),
        _answer(_http(status, {"Location": pick(rng, ("/", "http://127.0.0.1:1/", "file:///etc/passwd", text, "//"))})),
        _answer(_http(status, {"Retry-After": pick(rng, ("3600", "-1", "x", "9" * 30, text))})),
        _answer(_http(status, {f"X-{n}": "a" * 1000 for n in range(200)})),
        _answer(_http(status, {"X-A": "a" * 2_000_000})),
        _answer(_http(status, {"X-Error-Message": text, "X-Error-Code": "GatedRepo"})),
        _answer(_http(status, {"Content-Type": "application/json"}, document.encode("utf-8", "replace"))),
        _answer(_http("200 OK", {"Content-Type": "application/json"}, b"[" * 100_000)),
        _answer(_http("200 OK", {"Content-Type": "text/html"}, b"<html>" * 1000)),
        _answer(_http("200 OK", {"Content-Encoding": "gzip"}, b"\x1f\x8b\x08" + rng.bytes(100))),
    )
    talk, asked = (
        pick(rng, talks),
        pick(rng, (("fetch", "org/model"), ("mine", "org/model"), ("mine", "--dry-run", "a/b"))),
    )

    def trial() -> str:
        from pipeline.fetch import hub

        before, hub.SILENCE = hub.SILENCE, SILENCE
        try:
            with _server(talk) as port:
                own = {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HUB_OFFLINE": "0"}
                said = checked(command(place.home, *asked, **own))
        finally:
            hub.SILENCE = before
        return "refused" if said.code else "answered"

    return trial


def silent_database(place: Place, rng: np.random.Generator) -> Trial:
    """A server that is no PostgreSQL, or says nothing."""
    talks: tuple[Talk, ...] = (
        _silent,
        _answer(b"N"),
        _answer(b"S"),
        _answer(b"E\x00\x00\x00\x08oops"),
        _answer(rng.bytes(500)),
        _answer(b""),
        _answer(b"\x00" * 9),
        _answer(b"HTTP/1.1 200\r\n\r\n"),
        _answer(b"R\x7f\xff\xff\xff"),
        _answer(b"R\x00\x00\x00\x08\x00\x00\x00\x63"),
    )
    talk = talks[0] if rng.integers(20) == 0 else pick(rng, talks[1:])
    asked = pick(rng, (("models",), ("db", "check"), ("db", "upgrade"), ("show", "x")))

    def trial() -> str:
        with _server(talk) as port:
            url = f"postgresql://me:x@127.0.0.1:{port}/d?connect_timeout=2"
            said = checked(command(place.home, *asked, "--db", url))
        return "refused" if said.code else "answered"

    return trial
