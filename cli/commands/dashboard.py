"""`dna-zoo dashboard`: a page on this machine that shows the database, or one view of it as a file."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.options import flag
from cli.output import Output
from cli.session import session_of

__all__ = ["EXAMPLES", "dashboard"]

EXAMPLES = (
    "dna-zoo dashboard",
    "dna-zoo dashboard --port 0 --open",
    "dna-zoo dashboard --export models.html --state 'tab=models&model=minilm-l6'",
)


def dashboard(
    context: typer.Context,
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="Address to listen at; 0.0.0.0 lets other machines look.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", help="Port; 0 takes any that is free.")] = 8050,
    opens: Annotated[bool, flag("--open", help="Open it in the browser.")] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="Write one view as an HTML file, and serve nothing."),
    ] = None,
    state: Annotated[
        str,
        typer.Option(
            "--state",
            metavar="STATE",
            help="View to begin with, or to write: what stands after # in the page's address.",
        ),
    ] = "",
    theme: Annotated[
        Literal["auto", "light", "dark"] | None, typer.Option("--theme", help="Colours; default: the browser's.")
    ] = None,
    force: Annotated[bool, flag("--force", help="Replace the file of `--export` if it is there.")] = False,
) -> None:
    """Show the database in a page that only this machine can see, and that changes nothing; Ctrl-C ends it."""
    from explorer.dashboard.run import require_extra, save_dashboard, serve_dashboard
    from explorer.page.file import require_page
    from explorer.source import Source

    require_extra()
    if export is not None:
        require_page(export, force=force)
    session = session_of(context)
    output = session.output()
    begin = state.partition("#")[2] or state
    if theme is not None:
        begin += f"&theme={theme}"
    with session.database() as database:
        source = Source(database=database, home=session.home)
        if export is not None:
            save_dashboard(source, export, state=begin, theme=None if theme == "auto" else theme, force=force)
            output.note(f"Wrote {export}.")
            return
        serve_dashboard(
            source, host=host, port=port, state=begin, is_opened=opens, on_ready=lambda at: _say(output, at)
        )


def _say(output: Output, address: str) -> None:
    """The address alone on stdout, so that it can be piped."""
    print(address, flush=True)
    output.hint("Ctrl-C ends it.")
