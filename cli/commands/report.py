"""`dna-zoo report`: what was found, as a page and as Markdown, with figures and data."""

from pathlib import Path
from typing import Annotated

import typer

from cli.completion import mined_keys
from cli.numbers import count
from cli.options import flag
from cli.session import session_of

__all__ = ["EXAMPLES", "report"]

EXAMPLES = (
    "dna-zoo report --out report",
    "dna-zoo report minilm-l6 bert-base --out two-models",
    "dna-zoo report 20261128-221503-9f3a1c --out run --force",
)


def report(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN|MODELS...",
            help="Mined models by their keys, or a run. Default: all mined models.",
            show_default=False,
            autocompletion=mined_keys,
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to make.")] = Path("report"),
    force: Annotated[bool, flag("--force", help="Replace the folder if it holds a report.")] = False,
) -> None:
    """Write what was found as a page without scripts and as Markdown, with figures, data, methods and citation."""
    from explorer.report import write_report
    from explorer.source import Source

    session = session_of(context)
    with session.database() as database:
        written = write_report(Source(database=database, home=session.home), names or (), out.expanduser(), force=force)
    models, figures = len(written.models), len(written.figures)
    output = session.output()
    output.note(
        f"Wrote a report on {count(models)} model{'s' * (models != 1)} with {count(figures)}"
        f" figure{'s' * (figures != 1)} to {out}: report.html, report.md, figures/, data/."
    )
