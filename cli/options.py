"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.output import Format

__all__ = [
    "AllOption",
    "DatabaseOption",
    "DebugOption",
    "FormatOption",
    "HomeOption",
    "ModelArgument",
    "NamesArgument",
    "OfflineOption",
    "QuietOption",
    "RunOption",
    "TierOption",
    "VerboseOption",
    "flag",
]


def flag(*names: str, help: str, panel: str | None = None) -> Any:
    """An option that takes no value."""
    return typer.Option(*names, help=help, metavar="", rich_help_panel=panel)


FormatOption = Annotated[
    Format,
    typer.Option(
        "--format",
        help="A table for people, JSON with stable keys for programs, or the bare names, one a line, for pipes.",
    ),
]
ModelArgument = Annotated[str, typer.Argument(metavar="KEY", help="A mined model, by its key.", show_default=False)]
NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAMES",
        help="Keys of the zoo, Hub ids or directories. A directory's folder name becomes its key.",
        show_default=False,
    ),
]
TierOption = Annotated[
    int | None, typer.Option("--tier", metavar="N", help="All models of this tier of the zoo.", show_default=False)
]
AllOption = Annotated[bool, flag("--all", help="All models of the zoo.")]
RunOption = Annotated[
    str | None,
    typer.Option("--run", metavar="RUN", help="As that run found it; default: the newest.", show_default=False),
]
OfflineOption = Annotated[bool, flag("--offline", help="Send no request: use what is in the cache or given by path.")]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--db",
        envvar="DNA_ZOO_DB",
        metavar="URL",
        help="The pattern database: sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE."
        " Default: dna-zoo.db in the home folder.",
        show_default=False,
    ),
]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar="DNA_ZOO_HOME",
        metavar="DIR",
        help="Where runs, checkpoints and the default database are kept. Default: the platform's user data folder.",
        show_default=False,
    ),
]
VerboseOption = Annotated[bool, flag("-v", "--verbose", help="Say what each stage did.")]
QuietOption = Annotated[bool, flag("-q", "--quiet", help="No progress, notes or warnings.")]
DebugOption = Annotated[bool, flag("--debug", help="Show the traceback of an error.")]
