"""Options and arguments that several commands share."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.completion import mined_keys, model_names, run_names
from cli.output import Format

__all__ = [
    "AllOption",
    "DatabaseOption",
    "DebugOption",
    "ForceOption",
    "FormatOption",
    "HomeOption",
    "ModelArgument",
    "NamesArgument",
    "OfflineOption",
    "QuietOption",
    "RunOption",
    "SeedOption",
    "TextsOption",
    "TierOption",
    "ToleranceOption",
    "VerboseOption",
    "WideOption",
    "finite",
    "flag",
]


EVERYWHERE = "Options of every command, before or after its name"


def flag(*names: str, help: str, panel: str | None = None) -> Any:
    """An option that takes no value."""
    return typer.Option(*names, help=help, rich_help_panel=panel)


def finite(value: float) -> float:
    """The number, of an option. Raises `BadParameter` for NaN and infinity, which no range of an option keeps out."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


FormatOption = Annotated[
    Format,
    typer.Option(
        "--format",
        help="A table for people, JSON with stable keys for programs, or bare names, one per line, for pipes.",
    ),
]
ForceOption = Annotated[bool, flag("--force", help="Replace the folder if it holds a model.")]
TextsOption = Annotated[
    Path | None,
    typer.Option(
        "--texts",
        metavar="FILE",
        help="Text to judge language models by; its last fifth is held out. Default: the task of a specimen.",
    ),
]
ModelArgument = Annotated[
    str, typer.Argument(metavar="KEY", help="A mined model, by its key.", autocompletion=mined_keys)
]
NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAMES...",
        help="Keys of the zoo, Hub ids or directories. A directory's folder name becomes its key.",
        autocompletion=model_names,
    ),
]
TierOption = Annotated[int | None, typer.Option("--tier", metavar="N", help="All models of this tier of the zoo.")]
AllOption = Annotated[bool, flag("--all", help="All models of the zoo but those of tier 5.")]
RunOption = Annotated[
    str | None,
    typer.Option("--run", metavar="RUN", help="What this run found; default: the newest.", autocompletion=run_names),
]
ToleranceOption = Annotated[
    float,
    typer.Option(
        "--tolerance",
        metavar="X",
        min=0.0,
        callback=finite,
        help="How far apart two numbers may be, relatively, and still be the same.",
    ),
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, max=2**63 - 1, metavar="N", help="Random seed: the same gives the same bits.")
]
OfflineOption = Annotated[bool, flag("--offline", help="Send no network requests: use the cache and the paths given.")]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--db",
        envvar="DNA_ZOO_DB",
        metavar="URL",
        help="The pattern database: sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE."
        " Default: dna-zoo.db in the home folder.",
        rich_help_panel=EVERYWHERE,
    ),
]
HomeOption = Annotated[
    str | None,
    typer.Option(
        "--home",
        envvar="DNA_ZOO_HOME",
        metavar="DIR",
        help="Where runs, checkpoints and the default database are kept. Default: the platform's user data folder.",
        rich_help_panel=EVERYWHERE,
    ),
]
VerboseOption = Annotated[bool, flag("-v", "--verbose", help="Show what each stage did.", panel=EVERYWHERE)]
QuietOption = Annotated[bool, flag("-q", "--quiet", help="No progress, notes or warnings.", panel=EVERYWHERE)]
WideOption = Annotated[
    bool, flag("--wide", help="Show all columns of a table, also on a narrow terminal.", panel=EVERYWHERE)
]
DebugOption = Annotated[bool, flag("--debug", help="Show the traceback of an error.", panel=EVERYWHERE)]
