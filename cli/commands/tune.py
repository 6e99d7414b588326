"""`dna-zoo tune`: search the settings of a fit."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from cli import fit_options as options
from cli.completion import model_names
from cli.documents import tune_document
from cli.numbers import byte_size, count, duration, signed
from cli.options import FormatOption, OfflineOption, flag
from cli.output import Format
from cli.progress import progress
from cli.session import offline_mode, session_of
from cli.tables import Column, Columns, escaped, make_table
from pipeline.settings import make_settings

if TYPE_CHECKING:
    from pipeline.tuning.study import TuneResult, TuneTrial

__all__ = ["EXAMPLES", "tune"]

EXAMPLES = (
    "dna-zoo tune minilm-l6",
    "dna-zoo tune minilm-l6 --trials 50 --budget 0.045",
    "dna-zoo tune minilm-l6 --trials 60 --training",
    "dna-zoo tune ./my-model --dna-type spectral --max-seconds 600 --format json",
)


@options.with_fit_options("dna_type", "order", "budget", "precision")
def tune(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A key of the zoo, a Hub id or a directory.", autocompletion=model_names),
    ],
    trials: Annotated[int, typer.Option("--trials", min=0, metavar="N", help="More trials to run; 0: only show.")] = 20,
    max_seconds: Annotated[
        float | None,
        typer.Option("--max-seconds", min=0, metavar="S", help="Start no trial after this many seconds."),
    ] = None,
    nulls: options.NullsOption = None,
    all_tensors: Annotated[
        bool, flag("--all-tensors", help="Fit every matrix; default: one of each role, from the middle of the depth.")
    ] = False,
    training: Annotated[bool, flag("--training", help="Search optimiser and schedule as well.")] = False,
    device: options.DeviceOption = "auto",
    seed: options.SeedOption = 0,
    offline: OfflineOption = False,
    output_format: FormatOption = Format.TABLE,
    **fit: Any,
) -> None:
    """Search the settings of a fit for structure gain, throughput and memory; show every trial and the Pareto front."""
    from cli.requests import model_requests, require_some

    session = session_of(context)
    output = session.output(output_format)
    from pipeline.fetch.plan import expand

    (request,) = expand(*model_requests([name]))
    settings = make_settings("quick", nulls=nulls, device=device, seed=seed, **fit)
    require_some([request], session)
    from pipeline.tuning.study import tune as search

    home = session.make_home()
    with offline_mode(offline), progress(session.verbosity) as on_event:
        found = search(
            request,
            settings.fit,
            database_url=session.database_url,
            home=home,
            num_trials=trials,
            max_seconds=max_seconds,
            all_tensors=all_tensors,
            with_training=training,
            device=device,
            seed=seed,
            on_event=on_event,
        )
    front = [trial for trial in found.trials if trial.is_on_front]
    best = max(front, key=lambda trial: trial.outcome.gain if trial.outcome else -1.0, default=None)
    command = options.command_of(name, replace(settings.fit, **best.values), device=device, seed=seed) if best else None
    output.result(
        lambda: tune_document(found, best.number if best else None, command),
        bare=(trial.number for trial in front),
        draw=lambda: _draw(found),
    )
    if best:
        output.hint("Trials marked ● are Pareto-optimal: no other trial has more gain and more speed in less memory.")
        output.hint(f"Repeat the trial with the largest gain: {command}")


COLUMNS: Columns[Any] = (
    Column("", style="green"),
    Column("Trial", right=True),
    Column("Gain", right=True),
    Column("SVD gain", right=True, optional=1),
    Column("R²", right=True, optional=3),
    Column("null R²", right=True, optional=2),
    Column("Weights/s", right=True),
    Column("Peak", right=True),
    Column("Settings", shrinks=True),
)


def _draw(found: "TuneResult") -> Iterator[RenderableType]:
    """What was searched, then one row a trial, those of the front first, by gain."""
    yield (
        f"[cyan]{escaped(found.model)}[/cyan]  {found.dna_type} at {found.budget:.2%} of the weights, "
        f"{count(len(found.tensors))} tensors, {count(len(found.trials))} trials"
    )
    ordered = sorted(found.trials, key=_rank)
    yield make_table(COLUMNS, [_row(trial) for trial in ordered])


def _rank(trial: "TuneTrial") -> tuple[bool, float, int]:
    gain = trial.outcome.gain if trial.outcome else -1.0
    return (not trial.is_on_front, -gain, trial.number)


def _row(trial: "TuneTrial") -> tuple[str, ...]:
    """A trial; one that failed says why."""
    done, values = trial.outcome, "  ".join(f"{name} {_short(value)}" for name, value in trial.values.items())
    mark = "●" if trial.is_on_front else ""
    if done is None:
        return (mark, count(trial.number), *("–" for _ in range(6)), escaped(f"{values}: {trial.error}"))
    return (
        mark,
        count(trial.number),
        signed(done.gain, 3),
        signed(done.svd_gain, 3),
        f"{done.r2:.3f}",
        f"{done.null_r2:.3f}",
        count(round(done.weights_per_second)),
        byte_size(done.peak_bytes),
        f"{values}  [dim]{duration(done.seconds)}[/dim]",
    )


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
