"""`dna-zoo mine`: the whole chain, and what it found."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from cli import errors
from cli import fit_options as options
from cli.documents import mine_document
from cli.findings import draw_findings, draw_neighbours
from cli.options import AllOption, FormatOption, NamesArgument, OfflineOption, TierOption, flag
from cli.output import Format, Output
from cli.progress import progress
from cli.session import offline_mode, session_of
from cli.signals import ended_in_order
from cli.watching import summary
from cli.whereabouts import find_pattern, run_folder
from dna_zoo.text import shell_word
from patterndb.records import Neighbour, PatternRecord, RunRecord
from pipeline.settings import AdapterUse, make_settings

if TYPE_CHECKING:
    from patterndb.store import PatternDatabase

__all__ = ["EXAMPLES", "mine"]

EXAMPLES = (
    "dna-zoo mine minilm-l6",
    "dna-zoo mine --tier 1 --preset thorough --dry-run",
    "dna-zoo mine --tier 1 --preset thorough",
    "dna-zoo mine ./my-model albert/albert-base-v2 --nulls 4",
    "dna-zoo mine --weights minilm-l6=model.safetensors",
    "dna-zoo mine --local ./checkpoint-900 --name mine-900",
    "dna-zoo mine --tier 1 --jobs 4",
    "dna-zoo mine --all --on ray --artifacts s3://my-bucket/zoo",
)
NUM_NEIGHBOURS = 3
SOURCES = "Models"
WeightsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--weights", metavar="KEY=PATH", help="Read KEY's weights from this file or directory.", rich_help_panel=SOURCES
    ),
]
LocalOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--local", metavar="PATH", help="A file or directory that is no model of the zoo.", rich_help_panel=SOURCES
    ),
]
LocalNamesOption = Annotated[
    list[str] | None,
    typer.Option("--name", metavar="KEY", help="What to call the --local before it.", rich_help_panel=SOURCES),
]
WHERE = "Where to mine and to keep"
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        help="Models at a time. Default: one; one a GPU where all may be used; on Ray, as many as there is room for.",
        rich_help_panel=WHERE,
    ),
]
OnOption = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="PLACE",
        help="`ray` for a Ray cluster of this machine, HOST:PORT or ray://HOST:PORT for one that runs.",
        rich_help_panel=WHERE,
    ),
]
ArtifactsOption = Annotated[
    str | None,
    typer.Option(
        "--artifacts",
        envvar="DNA_ZOO_ARTIFACTS",
        metavar="URL",
        help="Keep the files of the patterns there too, for other machines: a folder, s3://BUCKET/PATH, gs://..., ...",
        rich_help_panel=WHERE,
    ),
]


@options.with_fit_options()
def mine(
    context: typer.Context,
    names: NamesArgument = None,
    tier: TierOption = None,
    everything: AllOption = False,
    weights: WeightsOption = None,
    local: LocalOption = None,
    local_names: LocalNamesOption = None,
    preset: options.PresetOption = "quick",
    nulls: options.NullsOption = None,
    device: options.DeviceOption = "auto",
    seed: options.SeedOption = 0,
    dry_run: Annotated[
        bool, flag("--dry-run", help="Only say what would be fetched, reused and computed, and what that would take.")
    ] = False,
    force: Annotated[bool, flag("--force", help="Repeat every stage, also those that are done.")] = False,
    allow_nonfinite: Annotated[
        bool, flag("--allow-nonfinite", help="Mine models whose weights hold NaN or infinity.")
    ] = False,
    allow_partial: Annotated[
        bool, flag("--allow-partial", help="Mine what can be read of a model where much of it cannot be.")
    ] = False,
    state_dict: Annotated[
        str | None,
        typer.Option(
            "--state-dict",
            metavar="KEY",
            help="Which weights of a training checkpoint to read, where it holds several sets.",
            rich_help_panel=SOURCES,
        ),
    ] = None,
    adapter: Annotated[
        AdapterUse,
        typer.Option(
            "--adapter",
            help="What to make of an adapter: its base with the updates, or the updates alone.",
            rich_help_panel=SOURCES,
        ),
    ] = "merged",
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="NAME",
            help="The model that an adapter was trained on: a key, a Hub id or a path.",
            rich_help_panel=SOURCES,
        ),
    ] = None,
    figures: Annotated[
        bool, flag("--figures", help="Draw every model into the run's folder once it is mined (`dna-zoo[see]`).")
    ] = False,
    offline: OfflineOption = False,
    jobs: JobsOption = None,
    on: OnOption = None,
    artifacts: ArtifactsOption = None,
    output_format: FormatOption = Format.TABLE,
    **fit: Any,
) -> int:
    """Mine models: fetch, order, fit, analyse and save them, then show what was found."""
    from cli.requests import model_requests, require_some

    session = session_of(context)
    output = session.output(output_format)
    requests = model_requests(
        names or [],
        tier=tier,
        everything=everything,
        weights=weights or [],
        local=local or [],
        local_names=local_names or [],
        state_dict=state_dict,
        adapter=adapter,
        base=base,
    )
    settings = make_settings(
        preset,
        nulls=nulls,
        device=device,
        seed=seed,
        allow_nonfinite=allow_nonfinite,
        allow_partial=allow_partial,
        **fit,
    )
    require_some(requests, session)
    if dry_run:
        from cli.commands.mine_plan import show_plan

        with offline_mode(offline):
            return show_plan(requests, settings, session, output, force=force)
    if figures:
        from explorer.style import require_libraries

        require_libraries("matplotlib", "cmcrameri")
    from pipeline.runs.executors.choose import choose
    from pipeline.runs.runner import mine as mine_models

    executor = choose(on=on, jobs=jobs, device=device, database_url=session.database_url)
    home = session.make_home()
    with ended_in_order(), session.database(create=True) as database, offline_mode(offline):
        with progress(session.verbosity) as on_event:
            run = mine_models(
                requests,
                settings,
                database=database,
                home=home,
                on_event=on_event,
                force=force,
                command=session.command_line,
                executor=executor,
                artifacts=artifacts or None,
            )
        _tell(run, database, home, output)
        if figures:
            _draw_folders(run, database, home, output)
    return errors.FAILED if run.exit_code is None else run.exit_code


def _tell(run: RunRecord, database: "PatternDatabase", home: Path, output: Output) -> None:
    """The findings of the models that were mined, and the reasons of those that were not."""
    done = [model.key for model in run.models if model.status == "done"]
    patterns = [database.load_pattern(key, run=run.run, with_tensors=False) for key in done]
    neighbours = database.get_similar_to_each(done, NUM_NEIGHBOURS)
    partial = database.partial_models()
    output.result(
        lambda: mine_document(
            run, run_folder(home, run), [(pattern, find_pattern(pattern, database, home)) for pattern in patterns]
        ),
        bare=done,
        draw=lambda: _draw(patterns, neighbours, partial),
    )
    if len(run.models) > 1:
        output.note(summary(run))
    for model in run.models:
        if model.status == "failed":
            output.error(f"{model.key}: {model.error}", model.hint or "")
    if done:
        word = shell_word(done[0])
        output.hint(f"Next: dna-zoo show {word}, dna-zoo similar {word}, dna-zoo taxonomy, dna-zoo export catalog.csv")


def _draw_folders(run: RunRecord, database: "PatternDatabase", home: Path, output: Output) -> None:
    """The pictures of the models that were mined; one that fails is told, and fails nothing."""
    from explorer.run_folder import draw_run_folders
    from explorer.source import Source

    drawn = 0
    for each in draw_run_folders(Source(database=database, home=home), run.run):
        drawn += each.error is None
        if each.error is not None:
            output.warning(f"No {each.kind} of {each.models[0]}: {each.error.message} {each.error.hint}")
    figures = f"{drawn} figure{'s' * (drawn != 1)}"
    output.note(f"Drew {figures} into {run_folder(home, run)}: visualizations/ in each model's folder.")


def _draw(
    patterns: Sequence[PatternRecord],
    neighbours: "Mapping[str, tuple[Neighbour, ...]]",
    partial: frozenset[str],
) -> Iterator[RenderableType]:
    """Model by model."""
    for pattern in patterns:
        yield from draw_findings(pattern)
        if near := neighbours.get(pattern.model.key):
            yield from draw_neighbours(pattern.model.key, near, partial)
