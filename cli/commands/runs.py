"""`dna-zoo runs`: what was asked of `mine`, by whom, and how it ended."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from cli import errors
from cli.completion import run_names
from cli.differences import show_differences
from cli.documents import run_document
from cli.numbers import UNKNOWN, duration, moment
from cli.options import FormatOption, ToleranceOption, flag
from cli.output import Format, Output
from cli.session import Session, session_of
from cli.since import moment_of
from cli.tables import Column, Columns, escaped, make_table, table_of
from cli.watching import summary, watch
from cli.whereabouts import run_folder
from dna_zoo.errors import SettingsError
from patterndb.records import RunModelRecord, RunRecord
from patterndb.runs.differences import TOLERANCE, compare_runs

if TYPE_CHECKING:
    from patterndb.store import PatternDatabase

__all__ = ["EXAMPLES", "runs"]

EXAMPLES = (
    "dna-zoo runs",
    "dna-zoo runs --since 7d --status failed --status lost",
    "dna-zoo runs $(dna-zoo runs --limit 1 --format quiet) --watch",
    "dna-zoo runs --diff 20261127-020000-0c11aa 20261128-020000-5de2f7",
)

STATUS_STYLES = {
    "done": "green", "failed": "red", "partial": "yellow", "interrupted": "yellow", "running": "cyan", "lost": "red",
}  # fmt: skip
StatusOption = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        metavar="STATUS",
        help=f"Only runs of this status; repeat for more. One of {', '.join(STATUS_STYLES)}.",
    ),
]


def runs(
    context: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="One run, with its stages and failures.", autocompletion=run_names),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N.")] = None,
    status: StatusOption = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help="Only runs that were heard of since: 30m, 12h, 7d, 2w ago, or a date.",
        ),
    ] = None,
    watched: Annotated[bool, flag("--watch", help="Follow RUN until it ends, from any machine.")] = False,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option("--diff", metavar="A B", help="What two runs found differently."),
    ] = None,
    tolerance: ToleranceOption = TOLERANCE,
    output_format: FormatOption = Format.TABLE,
) -> int:
    """List the runs, the one last heard of first; or show one, follow one, or compare two."""
    session = session_of(context)
    output = session.output(output_format)
    filters = limit is not None or bool(status) or since is not None
    _require_one_question(run, watched=watched, diff=diff is not None, filters=filters)
    with session.database() as database:
        if diff is not None:
            return _compare(database, *diff, tolerance, output)
        if watched and run is not None:
            is_quiet = output_format is not Format.TABLE or session.verbosity < 0
            record = watch(database, run, quiet=is_quiet)
            if output_format is not Format.TABLE:
                _show(record, session, output)
            return errors.FAILED if record.exit_code is None else record.exit_code
        if run is not None:
            _show(database.run(run), session, output)
            return errors.DONE
        moment_since = None if since is None else moment_of(since, dt.datetime.now(dt.UTC))
        _list(database.runs(limit=limit, statuses=_known(status or []), since=moment_since), session, output)
    return errors.DONE


def _require_one_question(run: str | None, *, watched: bool, diff: bool, filters: bool) -> None:
    """Raise `SettingsError` for options that do not go together."""
    if watched and run is None:
        raise SettingsError("`--watch` follows one run.", hint="Name it: dna-zoo runs RUN --watch.")
    if (run is not None) + diff + filters > 1:
        hint = "Give RUN, or --diff A B, or --limit, --status and --since."
        raise SettingsError("One run, two runs compared and a list are three questions.", hint=hint)


def _known(statuses: Sequence[str]) -> Sequence[str]:
    for each in statuses:
        if each not in STATUS_STYLES:
            raise SettingsError(f"There is no status {each!r}.", hint=f"Use one of: {', '.join(STATUS_STYLES)}.")
    return statuses


def _compare(database: "PatternDatabase", a: str, b: str, tolerance: float, output: Output) -> int:
    """What two runs found differently; the exit code is 0 whatever it is."""
    one, two = database.run(a), database.run(b)
    found = compare_runs(
        one,
        two,
        lambda key: database.load_pattern(key, run=one.run),
        lambda key: database.load_pattern(key, run=two.run),
        tolerance=tolerance,
    )
    show_differences(found, output)
    return errors.DONE


def _show(record: RunRecord, session: Session, output: Output) -> None:
    folder = run_folder(session.home, record)
    output.result(
        lambda: run_document(record, folder),
        bare=(model.key for model in record.models),
        draw=lambda: _draw_run(record, folder),
    )


def _list(records: Sequence[RunRecord], session: Session, output: Output) -> None:
    folders = {record.run: run_folder(session.home, record) for record in records}
    output.result(
        lambda: [run_document(record, folders[record.run]) for record in records],
        bare=folders,
        draw=lambda: _draw_list(records, folders),
    )
    if records:
        output.hint("Next: dna-zoo runs RUN")


def _draw_list(records: Sequence[RunRecord], folders: Mapping[str, Path]) -> Iterator[RenderableType]:
    """One row a run, and where their files are."""
    columns: Columns[RunRecord] = (
        Column("Run", lambda run: escaped(run.run), style="cyan"),
        Column("Status", lambda run: _styled(run.status)),
        # The name of a run says when it started, too.
        Column("Started (UTC)", lambda run: moment(run.started), optional=1),
        Column("Last heard (UTC)", lambda run: moment(run.last_activity), optional=5),
        Column("Took", lambda run: _took(run), right=True),
        Column("Host", lambda run: escaped(run.invocation.host or "") or UNKNOWN, optional=4, shrinks=True),
        Column("Exit", lambda run: UNKNOWN if run.exit_code is None else str(run.exit_code), right=True, optional=4),
        Column("Done", lambda run: str(run.counts["done"]), right=True, optional=3),
        Column("Reused", lambda run: str(run.counts["reused"]), right=True, optional=3),
        Column("Failed", lambda run: str(run.counts["failed"]), right=True, optional=3),
        Column("Files", lambda run: "there" if folders[run.run].is_dir() else "[dim]missing[/dim]", optional=2),
        Column("Models", lambda run: escaped(" ".join(model.key for model in run.models)), shrinks=True),
    )
    yield table_of(records, columns)
    if records:
        yield ""
        yield f"[dim]Files of a request: {escaped(str(folders[records[0].run].parent / 'REQUEST'))}[/dim]"


def _took(record: RunRecord) -> str:
    """From the start to the end; runs of older versions have the times alone."""
    if record.seconds is None and record.finished:
        return duration((record.finished - record.started).total_seconds())
    return duration(record.seconds)


def _styled(status: str) -> str:
    """The status in its colour."""
    style = STATUS_STYLES.get(status, "dim")
    return f"[{style}]{escaped(status)}[/{style}]"


def _draw_run(record: RunRecord, folder: Path) -> Iterator[RenderableType]:
    """The run, where its files are, its models with their stages, and why the failed ones failed."""
    times = f"{moment(record.started)} UTC, took {_took(record)}"
    yield f"[bold cyan]{escaped(record.run)}[/bold cyan]  {_styled(record.status)}  {times}, {summary(record)}"
    yield from (f"[dim]{line}[/dim]" for line in _process_lines(record))
    yield f"[dim]Files: {escaped(str(folder))}{'' if folder.is_dir() else ' (missing)'}[/dim]"
    if record.error:
        yield f"[red]{escaped(record.error)}[/red]"
    if artifacts := record.request.get("artifacts"):
        yield f"[dim]Artifacts: {escaped(str(artifacts))}[/dim]"
    yield ""
    yield make_table(STAGE_COLUMNS, [row for model in record.models for row in _stage_rows(model)])
    for model in record.models:
        if model.error:
            yield f"[red]{escaped(model.key)}[/red]: {escaped(model.error)} {escaped(model.hint or '')}".rstrip()


def _process_lines(record: RunRecord) -> Iterator[str]:
    """Who called, where and how; what ended it, or when it was last heard of."""
    about = record.invocation
    if about.host:
        yield f"Ran on {escaped(about.host)} as {escaped(about.user or 'nobody')}, process {about.pid}"
    if about.command:
        yield f"Command: {escaped(about.command)}"
    if about.versions:
        yield "Versions: " + ", ".join(f"{escaped(name)} {escaped(each)}" for name, each in about.versions.items())
    if record.stopped_by:
        yield f"Stopped by {escaped(record.stopped_by)}"
    if record.status in ("running", "lost"):
        yield f"Last heard of {moment(record.last_activity)} UTC" + "".join(
            f"; {escaped(each.model)}: {escaped(each.stage)} at work" for each in record.at_work
        )
    yield f"Request {escaped(record.request_key or UNKNOWN)}"


STAGE_COLUMNS: Columns[Any] = (
    Column("Model", style="cyan", shrinks=True),
    Column("Status"),
    Column("Stage"),
    Column("Stage status"),
    Column("Reused"),
    Column("Time", right=True),
    Column("Key", style="dim", optional=1),
)


def _stage_rows(model: RunModelRecord) -> Iterator[tuple[str, ...] | None]:
    """One row a stage, the model named in the first, and a line after the last."""
    first = (escaped(model.key), _styled(model.status))
    if not model.stages:
        yield (*first, *[UNKNOWN] * 5)
    for stage in model.stages:
        reused = {True: "reused", False: "computed", None: UNKNOWN}[stage.is_reused]
        told = (escaped(stage.stage), _styled(stage.status), reused, duration(stage.seconds), escaped(stage.key[:12]))
        yield (*first, *told)
        first = ("", "")
    yield None
