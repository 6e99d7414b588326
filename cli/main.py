"""The `dna-zoo` command: wires the options before the command, the commands, and the one place that catches errors."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from cli import errors
from cli.options import DatabaseOption, DebugOption, HomeOption, QuietOption, VerboseOption
from cli.session import Session
from dna_zoo import __version__

__all__ = ["app"]

PROGRAM = "dna-zoo"
COMMANDS = (
    "zoo",
    "fetch",
    "mine",
    "show",
    "compare",
    "similar",
    "taxonomy",
    "questions",
    "runs",
    "export",
    "tune",
    "db",
)
EXAMPLES = ("dna-zoo mine minilm-l6", "dna-zoo similar minilm-l6", "dna-zoo --home ./work -v mine --tier 1")


class _Commands(Mapping[str, Any]):
    """The commands by name, each imported and built when it is asked for: a start needs one of them."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        if name not in self._built:
            self._built[name] = _build(name)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Application(TyperGroup):
    """The group of commands, with the house's own errors in place of Typer's."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _Commands()  # type: ignore[assignment]

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command and end the process with its exit code (or return that, if not `standalone_mode`)."""
        session = Session()
        try:
            code = super().main(args, PROGRAM, complete_var, standalone_mode=False, obj=session, **extra) or errors.DONE
        except Exception as error:
            code = errors.report(error, program=PROGRAM, debug=session.debug)
        if standalone_mode:
            sys.exit(code)
        return code

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C leaves as an exception of its own, so that it is told like the others."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise typer.Abort from error

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """In plain text: drawing it with rich would take longer than everything else, and there are no panels."""
        super(TyperGroup, self).format_help(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Every command with its whole summary."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.commands[name].help or "") for name in self.list_commands(ctx)])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The examples, a line each."""
        formatter.write("\n" + str(self.epilog).replace("[bold]", "").replace("[/bold]", ":") + "\n")

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order in which people come to need them."""
        return list(COMMANDS)


app = typer.Typer(
    cls=_Application,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    no_args_is_help=False,
)


def _examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\n".join(("[bold]Examples[/bold]", *(f"  {line}" for line in lines)))


def _version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        print(f"dna-zoo {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True, epilog=_examples(*EXAMPLES))
def _options(
    context: typer.Context,
    db: DatabaseOption = None,
    home: HomeOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, metavar="", help="Print the version and stop."),
    ] = False,
) -> None:
    """Mine the weights of pretrained models for structure, with a null beside every number."""
    if verbose and quiet:
        raise typer.BadParameter("-v and -q contradict each other.")
    session = context.obj
    assert isinstance(session, Session)
    session.db, session.given_home, session.debug = db, home, debug
    session.verbosity = verbose - quiet
    if context.invoked_subcommand is None:
        print(context.get_help())


def _add(group: typer.Typer, name: str, function: Callable[..., Any], lines: tuple[str, ...]) -> None:
    """Put a command into its group."""
    group.command(name, epilog=_examples(*lines))(function)


def _build(name: str) -> Any:
    """The command of that name, from the module of that name."""
    module = import_module(f"cli.commands.{name}")
    application = typer.Typer(name=name, add_completion=False, rich_markup_mode="rich")
    if name == "zoo":
        application.callback(invoke_without_command=True, epilog=_examples(*module.EXAMPLES))(module.zoo)
        _add(application, "show", module.show, module.SHOW_EXAMPLES)
    elif name == "db":
        application.callback(invoke_without_command=True, epilog=_examples(*module.EXAMPLES))(module.db)
        for function in (module.upgrade, module.current, module.check):
            _add(application, function.__name__, function, module.EXAMPLES)
    else:
        _add(application, name, getattr(module, name), module.EXAMPLES)
    return typer.main.get_command(application)
