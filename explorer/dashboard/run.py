"""The dashboard from outside: serve it until somebody stops it, or write one state of it to a file."""

import webbrowser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dna_zoo.errors import SettingsError
from explorer.page.file import require_page, write_page
from explorer.source import Source
from explorer.style import ThemeName

__all__ = ["require_extra", "save_dashboard", "serve_dashboard"]


def require_extra() -> None:
    """Raises `SettingsError` where dash or plotly is not installed."""
    try:
        import dash  # noqa: F401
        import plotly  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            "The dashboard is drawn by Dash and plotly, which are not installed.",
            hint="Install them with `pip install 'dna-zoo[see]'`.",
        ) from error


def serve_dashboard(
    source: Source,
    *,
    host: str = "127.0.0.1",
    port: int = 8050,
    state: str = "",
    is_opened: bool = False,
    on_ready: Callable[[str], object] = lambda address: None,
) -> None:
    """Serve until interrupted; `on_ready` is told the address. Nothing is written.

    Raises `SettingsError` for a port in use, and without the extra.
    """
    require_extra()
    from explorer.dashboard.board import Board
    from explorer.dashboard.serving import listening
    from explorer.dashboard.state import State

    with listening(Board(source=source), host=host, port=port) as server:
        named = f"[{host}]" if ":" in host else host
        fragment = State.from_hash(state).to_hash()
        address = f"http://{named}:{server.server_port}/" + (f"#{fragment}" if fragment else "")
        on_ready(address)
        if is_opened:
            webbrowser.open(address)
        with suppress(KeyboardInterrupt):  # Its usual end.
            server.serve_forever()


def save_dashboard(
    source: Source, path: Path, *, state: str = "", theme: ThemeName | None = None, force: bool = False
) -> None:
    """Write what that state shows as one HTML file; the file is whole or not there.

    Raises what `write_page` does, and `SettingsError` without the extra.
    """
    require_extra()
    require_page(path, force=force)
    from explorer.dashboard.app import theme_of
    from explorer.dashboard.board import Board
    from explorer.dashboard.saved import saved_page
    from explorer.dashboard.state import State

    shown = State.from_hash(state)
    write_page(saved_page(shown, Board(source=source), theme or theme_of(shown, None)), path, force=force)
