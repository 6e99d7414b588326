"""The `dna-zoo` command: which commands there are, and the options that each of them has."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from cli.application import Application, Command, Group, examples
from cli.commands import (
    ask,
    combine,
    compare,
    dashboard,
    db,
    evaluate,
    explore,
    export,
    fetch,
    init,
    library,
    mine,
    models,
    plot,
    questions,
    rebuild,
    report,
    rerun,
    runs,
    show,
    similar,
    taxonomy,
    transplant,
    tune,
    zoo,
)
from cli.options import DatabaseOption, DebugOption, HomeOption, QuietOption, VerboseOption, WideOption
from dna_zoo import __version__

__all__ = ["app"]

EXAMPLES = ("dna-zoo mine minilm-l6", "dna-zoo similar minilm-l6", "dna-zoo mine --tier 1 --home ./work -v")

app = typer.Typer(
    cls=Application,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        print(f"dna-zoo {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True, epilog=examples(*EXAMPLES))
def _application(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    # What follows is in every command, and goes into the session: its fields have these names.
    db: DatabaseOption = None,
    given_home: HomeOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
    wide: WideOption = False,
    debug: DebugOption = False,
) -> None:
    """Find structure in the weights of pretrained models; every number is compared with its null."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def _add(group: typer.Typer, command: Callable[..., Any], lines: tuple[str, ...]) -> None:
    """Put a command into its group under its own name."""
    group.command(_name(command), cls=Command, epilog=examples(*lines))(command)


def _add_all(group: typer.Typer, commands: tuple[Callable[..., Any], ...], lines: tuple[str, ...]) -> None:
    """Put commands into their group; each has its own of the group's examples."""
    for command in commands:
        _add(group, command, tuple(line for line in lines if line.split()[2] == _name(command)))


def _name(command: Callable[..., Any]) -> str:
    """Without the underscore that keeps it apart from a keyword."""
    return command.__name__.rstrip("_")


def _add_group(command: Callable[..., Any], lines: tuple[str, ...]) -> typer.Typer:
    """Put a command that has commands of its own into the application."""
    group = typer.Typer(cls=Group)
    group.callback(invoke_without_command=True, epilog=examples(*lines))(command)
    app.add_typer(group, name=command.__name__)
    return group


_add(_add_group(zoo.zoo, zoo.EXAMPLES), zoo.show, zoo.SHOW_EXAMPLES)
_add(app, fetch.fetch, fetch.EXAMPLES)
_add(app, mine.mine, mine.EXAMPLES)
_add(app, show.show, show.EXAMPLES)
_models = _add_group(models.models, models.EXAMPLES)
_add(_models, models.versions, models.VERSIONS_EXAMPLES)
_add(_models, models.tag, models.TAG_EXAMPLES)
_add(_models, models.note, ("dna-zoo models note minilm-l6 'the baseline of the paper'",))
_add(_models, models.rename, ("dna-zoo models rename my-model bert-of-march",))
_add(_models, models.rm, ("dna-zoo models rm my-model --dry-run", "dna-zoo models rm my-model"))
_add(_models, models.prune, models.PRUNE_EXAMPLES)
_add(app, compare.compare, compare.EXAMPLES)
_add(app, similar.similar, similar.EXAMPLES)
_add(app, taxonomy.taxonomy, taxonomy.EXAMPLES)
_add(app, ask.ask, ask.EXAMPLES)
_add(app, questions.questions, questions.EXAMPLES)
_add(app, runs.runs, runs.EXAMPLES)
_add(app, rerun.rerun, rerun.EXAMPLES)
_add(app, dashboard.dashboard, dashboard.EXAMPLES)
_add(app, rebuild.rebuild, rebuild.EXAMPLES)
_add(app, evaluate.evaluate, evaluate.EXAMPLES)
_add(app, plot.plot, plot.EXAMPLES)
_add(app, explore.explore, explore.EXAMPLES)
_add(app, export.export, export.EXAMPLES)
_add(app, report.report, report.EXAMPLES)
_add(app, tune.tune, tune.EXAMPLES)
_add_all(
    _add_group(library.library, library.EXAMPLES),
    (library.build, library.list_, library.show, library.combine, library.export, library.import_),
    library.EXAMPLES,
)
_add(app, init.init, init.EXAMPLES)
_add(app, combine.combine, combine.EXAMPLES)
_add(app, transplant.transplant, transplant.EXAMPLES)
_add_all(_add_group(db.db, db.EXAMPLES), (db.upgrade, db.current, db.check, db.index, db.backup, db.copy), db.EXAMPLES)
