"""`dna-zoo mine --dry-run`: what would be fetched, reused and computed, and what that would take."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from cli.documents import mine_plan_document
from cli.numbers import UNKNOWN, byte_size, count, duration
from cli.output import Output
from cli.session import Session
from cli.tables import Column, Columns, escaped, make_table
from dna_zoo.errors import DnaZooError, SettingsError, StoreError

if TYPE_CHECKING:
    from patterndb.store import PatternDatabase
    from pipeline.fetch.request import ModelRequest
    from pipeline.runs.estimate import CostTable, ModelEstimate, StageEstimate
    from pipeline.settings import MineSettings

__all__ = ["show_plan"]


def show_plan(
    requests: "Sequence[ModelRequest]", settings: "MineSettings", session: Session, output: Output, *, force: bool
) -> int:
    """Print what mining the models will take; the exit code. Writes nothing."""
    from cli.errors import exit_code
    from pipeline.runs.estimate import CostTable, scratch_home
    from pipeline.runs.runner import models_of

    with session.database_if_there() as database, scratch_home(session.home) as scratch:
        models = models_of(requests, database=database, home=scratch)
        table = CostTable.of(database, session.home)
        tried = [_try(model, settings, database, session, output, table, force=force) for model in models]
    found = [each for each in tried if each is not None]
    output.result(
        lambda: mine_plan_document(found),
        bare=(each.key for each in found),
        draw=lambda: _draw(found),
    )
    for each in found:
        if each.problem:
            output.warning(f"{each.key}: {each.problem}")
    return exit_code(num_models=len(models), num_done=len(found))


def _try(
    request: "ModelRequest",
    settings: "MineSettings",
    database: "PatternDatabase | None",
    session: Session,
    output: Output,
    table: "CostTable",
    *,
    force: bool,
) -> "ModelEstimate | None":
    """The estimate; None, and the reason on stderr, where it cannot be made."""
    from pipeline.runs.estimate import estimate_model

    try:
        return estimate_model(request, settings, database=database, home=session.home, table=table, force=force)
    except (SettingsError, StoreError):
        raise
    except DnaZooError as error:
        output.error(f"{request.name}: {error.message}", error.hint)
        return None


COLUMNS: Columns[Any] = (
    Column("Model", style="cyan", shrinks=True),
    Column("Download", right=True),
    Column("Weights", right=True, optional=1),
    Column("Extract", right=True, optional=2),
    Column("Order", right=True, optional=2),
    Column("Fit", right=True, optional=2),
    Column("Analyse", right=True, optional=2),
    Column("Time", right=True, style="bold"),
    Column("Memory", right=True),
    Column("GPU", right=True, optional=3),
    Column("Disk", right=True),
)


def _draw(found: "Sequence[ModelEstimate]") -> Iterator[RenderableType]:
    """A row for each model, their sum, and what the figures are from."""
    if not found:
        return
    rows: list[Sequence[str] | None] = [_row(each) for each in found]
    if len(found) > 1:
        rows += [None, _total_row(found)]
    yield make_table(COLUMNS, rows)
    yield ""
    records = max(stage.num_records for each in found for stage in each.stages)
    where = "this machine" if found[0].from_this_machine else "this database, of any machine"
    if any(stage.action == "compute" for each in found for stage in each.stages):
        yield (
            f"[dim]Estimated from up to {count(records)} recorded stages of each kind of {where}; without the download."
            f" {UNKNOWN}[dim] is unknown: nothing is recorded; ~ is far from what is recorded.[/dim]"
            if records
            else "[dim]Nothing is recorded yet, so times, memory and disk are unknown.[/dim]"
        )


def _row(each: "ModelEstimate") -> Sequence[str]:
    weights = count(each.num_weights) if each.is_counted or each.num_weights is None else f"~{count(each.num_weights)}"
    guess = "~" if any(stage.is_guess and stage.seconds for stage in each.stages) else ""
    return (
        escaped(each.key),
        byte_size(each.download_bytes) if each.download_bytes else "here",
        weights,
        *map(_stage_cell, each.stages),
        *_sums(each.seconds, each.memory_bytes, each.gpu_bytes, each.disk_bytes, guess),
    )


def _stage_cell(stage: "StageEstimate") -> str:
    if stage.action == "reuse":
        return "[green]reused[/green]"
    return UNKNOWN if stage.seconds is None else f"{'~' * stage.is_guess}{duration(stage.seconds)}"


def _sums(seconds: float | None, memory: int | None, gpu: int | None, disk: int | None, guess: str) -> Iterator[str]:
    yield UNKNOWN if seconds is None else f"{guess}{duration(seconds)}"
    for size in (memory, gpu, disk):
        yield UNKNOWN if size is None else byte_size(size) if size else "none"


def _total_row(found: "Sequence[ModelEstimate]") -> Sequence[str]:
    """Sums, of memory the most; unknown where one is."""
    seconds = [each.seconds for each in found]
    disk = [each.disk_bytes for each in found]
    memory, gpu = [each.memory_bytes for each in found], [each.gpu_bytes for each in found]
    sums = _sums(
        None if None in seconds else sum(each for each in seconds if each),
        None if None in memory else max(each for each in memory if each is not None),
        None if None in gpu else max(each for each in gpu if each is not None),
        None if None in disk else sum(each for each in disk if each),
        "",
    )
    return (f"{count(len(found))} models", byte_size(sum(each.download_bytes for each in found)), *[""] * 5, *sums)
