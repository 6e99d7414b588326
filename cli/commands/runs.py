"""`dna-zoo runs`: what was asked of `mine`, and how it ended."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType

from cli.completion import run_names
from cli.documents import run_document
from cli.numbers import UNKNOWN, duration, moment
from cli.options import FormatOption
from cli.output import Format
from cli.session import session_of
from cli.tables import Column, escaped, make_table
from cli.whereabouts import run_folder
from patterndb.records import RunModelRecord, RunRecord

__all__ = ["EXAMPLES", "runs"]

EXAMPLES = ("dna-zoo runs", "dna-zoo runs $(dna-zoo runs --format quiet | head -n 1)", "dna-zoo runs --format json")

STATUS_STYLES = {"done": "green", "failed": "red", "partial": "yellow", "interrupted": "yellow", "running": "cyan"}


def runs(
    context: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="One run, with its stages and failures.", autocompletion=run_names),
    ] = None,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """List the runs, the latest first, or show one: when it was, where its files are, its stages and failures."""
    session = session_of(context)
    output = session.output(output_format)
    with session.database() as database:
        records = database.runs() if run is None else (database.run(run),)
    folders = {record.run: run_folder(session.home, record.run) for record in records}
    if run is not None:
        one = records[0]
        output.result(
            lambda: run_document(one, folders[run]),
            bare=(model.key for model in one.models),
            draw=lambda: _draw_run(one, folders[run]),
        )
        return
    output.result(
        lambda: [run_document(record, folders[record.run]) for record in records],
        bare=folders,
        draw=lambda: _draw_list(records, folders),
    )
    if records:
        output.hint("Next: dna-zoo runs RUN")


RUN_COLUMNS = (
    Column("Run", style="cyan"),
    Column("Status"),
    Column("Started (UTC)"),
    Column("Took", right=True),
    Column("Exit", right=True, optional=3),
    Column("Done", right=True, optional=2),
    Column("Failed", right=True, optional=2),
    Column("Files", optional=1),
    Column("Models", shrinks=True),
)


def _draw_list(records: Sequence[RunRecord], folders: Mapping[str, Path]) -> Iterator[RenderableType]:
    """One row a run, and where their files are."""
    yield make_table(RUN_COLUMNS, (_run_row(record, folders[record.run]) for record in records))
    if records:
        yield ""
        yield f"[dim]Files of a run: {escaped(str(folders[records[0].run].parent / 'RUN'))}[/dim]"


def _run_row(record: RunRecord, folder: Path) -> tuple[str, ...]:
    """The cells of a run."""
    num = {status: sum(model.status == status for model in record.models) for status in ("done", "failed")}
    return (
        record.run,
        _styled(record.status),
        moment(record.started),
        _took(record),
        UNKNOWN if record.exit_code is None else str(record.exit_code),
        str(num["done"]),
        str(num["failed"]),
        "there" if folder.is_dir() else "[dim]missing[/dim]",
        escaped(" ".join(model.key for model in record.models)),
    )


def _took(record: RunRecord) -> str:
    """From the start to the end."""
    return duration((record.finished - record.started).total_seconds() if record.finished else None)


def _styled(status: str) -> str:
    """The status in its colour."""
    style = STATUS_STYLES.get(status, "dim")
    return f"[{style}]{status}[/{style}]"


def _draw_run(record: RunRecord, folder: Path) -> Iterator[RenderableType]:
    """The run, where its files are, its models with their stages, and why the failed ones failed."""
    times = f"{moment(record.started)} UTC, took {_took(record)}"
    yield f"[bold cyan]{record.run}[/bold cyan]  {_styled(record.status)}  {times}"
    yield f"[dim]Files: {escaped(str(folder))}{'' if folder.is_dir() else ' (missing)'}[/dim]"
    if artifacts := record.request.get("artifacts"):
        yield f"[dim]Artifacts: {escaped(str(artifacts))}[/dim]"
    yield ""
    yield make_table(STAGE_COLUMNS, [row for model in record.models for row in _stage_rows(model)])
    for model in record.models:
        if model.error:
            yield f"[red]{escaped(model.key)}[/red]: {escaped(model.error)} {escaped(model.hint or '')}".rstrip()


STAGE_COLUMNS = (
    Column("Model", style="cyan", shrinks=True),
    Column("Status"),
    Column("Stage"),
    Column("Stage status"),
    Column("Time", right=True),
    Column("Key", style="dim", optional=1),
)


def _stage_rows(model: RunModelRecord) -> Iterator[tuple[str, ...] | None]:
    """One row a stage, the model named in the first, and a line after the last."""
    first = (escaped(model.key), _styled(model.status))
    if not model.stages:
        yield (*first, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
    for stage in model.stages:
        yield (*first, stage.stage, _styled(stage.status), duration(stage.seconds), stage.key[:12])
        first = ("", "")
    yield None
