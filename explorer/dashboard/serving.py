"""The dashboard as a server on this machine: who may ask, what a browser may load, and the downloads."""

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, abort, request
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from dna_zoo.errors import DnaZooError, SettingsError
from explorer.dashboard.app import make_app, theme_of
from explorer.dashboard.board import Board, Failure, Request
from explorer.dashboard.choice import MOST_SIDE_BY_SIDE
from explorer.dashboard.saved import saved_page
from explorer.dashboard.state import State
from explorer.dashboard.tables import Column, Table, as_csv
from explorer.dashboard.tabs import find_table
from explorer.page.scene import scene_view
from explorer.page.write import explorer_html

__all__ = ["listening", "make_server_app"]

ANYWHERE = ("0.0.0.0", "::", "")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
READING = {"GET", "HEAD", "OPTIONS"}
ASKING = "/_dash-update-component"
"""The one address that is posted to: a question of the page, which changes nothing."""


def make_server_app(board: Board, *, host: str, tick_seconds: float = 3) -> Flask:
    """The WSGI application: Dash's, guarded, with the downloads."""
    dash = make_app(board, tick_seconds=tick_seconds)
    app: Flask = dash.server
    policy = _policy(dash.csp_hashes())
    app.before_request(lambda: _guard(host))

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers.update(HEADERS)
        response.headers.setdefault("Content-Security-Policy", policy)
        return response

    _add_downloads(app, board)
    return app


def _policy(scripts: list[str]) -> str:
    """Nothing from elsewhere, and no script but the files of this server and Dash's own first line."""
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' {' '.join(scripts)}",
            # plotly and Dash set styles from their scripts.
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _guard(host: str) -> None:
    """Refuse what a page of another site may have sent: a foreign name for this machine, or a foreign origin."""
    named = urlsplit(f"//{request.host}").hostname or ""
    if host not in ANYWHERE and named not in {host, *(("localhost", "127.0.0.1", "::1") if _is_loopback(host) else ())}:
        abort(403, "This dashboard does not answer to that name.")
    origin = request.headers.get("Origin")
    if origin and urlsplit(origin).netloc != request.host:
        abort(403, "This dashboard does not answer to other pages.")
    if request.method not in READING and request.path != ASKING:
        abort(405)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _add_downloads(app: Flask, board: Board) -> None:
    """Files of what is on screen; the state is in their address."""

    @app.get("/table/<name>.csv")
    def table(name: str) -> Response:
        state = _state()
        try:
            found = find_table(name, state, board)
        except DnaZooError as error:
            abort(503, str(error))
        if found is None:
            abort(404)
        return _file(as_csv(found, state), f"{name}.csv", "text/csv; charset=utf-8")

    @app.get("/picture.csv")
    def picture() -> Response:
        asked = Request.from_name(request.args.get("picture", ""))
        found = board.picture(asked) if asked else None
        if found is None or isinstance(found, Failure):
            abort(404, found.message if found else None)
        frame = found.view.table()
        columns = tuple(Column(name=str(name), heading=str(name)) for name in frame.columns)
        rows: list[dict[str, Any]] = frame.to_dict("records")  # type: ignore[assignment]
        made = as_csv(Table(name="picture", caption="", columns=columns, rows=rows), State())
        return _file(made, f"{found.view.kind}.csv", "text/csv; charset=utf-8")

    @app.get("/points.html")
    def points() -> Response:
        state = _state()
        try:
            page = explorer_html(scene_view(board.source, state.models[:MOST_SIDE_BY_SIDE]), theme=state.theme)
        except DnaZooError as error:
            return Response(f"{error.message} {error.hint}", 404, content_type="text/plain; charset=utf-8")
        # The page brings a stricter policy of its own, which names its script.
        headers = {"Content-Security-Policy": "frame-ancestors 'none'", "Cache-Control": "no-store"}
        return Response(page, content_type="text/html; charset=utf-8", headers=headers)

    @app.get("/export.html")
    def export() -> Response:
        state = _state()
        return _file(saved_page(state, board, theme_of(state, None)), f"{state.tab}.html", "text/html; charset=utf-8")


def _state() -> State:
    return State.from_hash(request.query_string.decode("utf-8", "replace"))


def _file(text: str, name: str, kind: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="dna-zoo-{name}"', "Cache-Control": "no-store"}
    return Response(text.encode("utf-8", "backslashreplace"), content_type=kind, headers=headers)


class _Quiet(WSGIRequestHandler):
    """Says nothing of single requests, nor what it is."""

    server_version, sys_version = "dna-zoo", ""

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


@contextmanager
def listening(board: Board, *, host: str, port: int, tick_seconds: float = 3) -> Iterator[BaseWSGIServer]:
    """A server that listens, not yet serving; `serve_forever` does. Port 0 is any that is free.

    Raises `SettingsError` for a port in use, and for a host that this machine is not.
    """
    _require_free(host, port)
    app = make_server_app(board, host=host, tick_seconds=tick_seconds)
    server = make_server(host, port, app, threaded=True, request_handler=_Quiet)
    try:
        yield server
    finally:
        server.server_close()


def _require_free(host: str, port: int) -> None:
    """Werkzeug ends the process where it cannot listen: ask before."""
    if not 0 <= port <= 65535:
        raise SettingsError(f"{port} is no port.", hint="Ports are 0 to 65535; 0 takes any that is free.")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        why = error.strerror or error
        raise SettingsError(
            f"The dashboard cannot listen at {host} port {port} ({why}).",
            hint="Give another with `--port`, or 0 for any that is free; `--host 127.0.0.1` is this machine alone.",
        ) from error
