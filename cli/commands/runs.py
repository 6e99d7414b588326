"""`dna-zoo runs`: what was asked of `mine`, and how it ended."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cli.documents import run_document
from cli.numbers import UNKNOWN, duration, moment
from cli.options import FormatOption
from cli.output import Column, Format, Output, escaped, make_table
from cli.session import session_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from patterndb.records import RunModelRecord, RunRecord

__all__ = ["EXAMPLES", "runs"]

EXAMPLES = ("dna-zoo runs", "dna-zoo runs $(dna-zoo runs --format quiet | head -n 1)", "dna-zoo runs --format json")

STATUS_STYLES = {"done": "green", "failed": "red", "partial": "yellow", "interrupted": "yellow", "running": "cyan"}


def runs(
    context: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="One run, with its stages and failures.", show_default=False),
    ] = None,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """List the runs, the latest first, or show one with its stages and failures."""
    session = session_of(context)
    output = Output(output_format, verbosity=session.verbosity)
    with session.database() as database:
        records = database.runs() if run is None else (database.run(run),)
    if run is not None:
        one = records[0]
        output.result(lambda: run_document(one), bare=(model.key for model in one.models), draw=lambda: _draw_run(one))
        return
    output.result(
        lambda: [run_document(record) for record in records],
        bare=(record.run for record in records),
        draw=lambda: [_run_table(records)],
    )
    if records:
        output.hint("More about one: dna-zoo runs RUN")


RUN_COLUMNS = (
    Column("Run", style="cyan"),
    Column("Status"),
    Column("Started (UTC)"),
    Column("Took", right=True),
    Column("Exit", right=True),
    Column("Done", right=True),
    Column("Failed", right=True),
    Column("Models", wraps=True),
)


def _run_table(records: "Sequence[RunRecord]") -> "RenderableType":
    """One row a run."""
    return make_table(RUN_COLUMNS, (_run_row(record) for record in records))


def _run_row(record: "RunRecord") -> tuple[str, ...]:
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
        escaped(" ".join(model.key for model in record.models)),
    )


def _took(record: "RunRecord") -> str:
    """From the start to the end."""
    return duration((record.finished - record.started).total_seconds() if record.finished else None)


def _styled(status: str) -> str:
    """The status in its colour."""
    style = STATUS_STYLES.get(status, "dim")
    return f"[{style}]{status}[/{style}]"


def _draw_run(record: "RunRecord") -> Iterator["RenderableType"]:
    """The run, its models with their stages, and why the failed ones failed."""
    times = f"{moment(record.started)} UTC, took {_took(record)}"
    yield f"[bold cyan]{record.run}[/bold cyan]  {_styled(record.status)}  {times}"
    yield ""
    yield make_table(STAGE_COLUMNS, [row for model in record.models for row in _stage_rows(model)])
    for model in record.models:
        if model.error:
            yield f"[red]{escaped(model.key)}[/red]: {escaped(model.error)} {escaped(model.hint or '')}".rstrip()


STAGE_COLUMNS = (
    Column("Model", style="cyan"),
    Column("Status"),
    Column("Stage"),
    Column("Stage status"),
    Column("Time", right=True),
    Column("Key", style="dim"),
)


def _stage_rows(model: "RunModelRecord") -> Iterator[tuple[str, ...] | None]:
    """One row a stage, the model named in the first, and a line after the last."""
    first = (escaped(model.key), _styled(model.status))
    if not model.stages:
        yield (*first, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
    for stage in model.stages:
        yield (*first, stage.stage, _styled(stage.status), duration(stage.seconds), stage.key[:12])
        first = ("", "")
    yield None
