"""How every command parses, explains itself and ends: Typer's classes, with the options of every command in each."""

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from cli import errors
from cli.session import OPTIONS, Session

__all__ = ["PROGRAM", "Application", "Command", "Group", "examples"]

PROGRAM = "dna-zoo"


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\n".join(("Examples:", *(f"  {line}" for line in lines)))


class _Everywhere:
    """What commands and groups have in common.

    The options of every command are declared once, at the application. Each command parses them too and hands them to
    the session, so they may stand before or after its name. Help is plain text: a choice list is one word, never cut.
    """

    params: list[Any]
    epilog: str | None

    def get_params(self, ctx: Any) -> list[Any]:
        """Its own parameters, and the options of every command."""
        own: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        application = ctx.find_root().command
        return own if application is self else own + [each for each in application.params if each.name in OPTIONS]

    def invoke(self, ctx: Any) -> Any:
        """Run it, once the session has the options of every command."""
        ctx.obj.take(ctx)
        return super().invoke(ctx)  # type: ignore[misc]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and options, in the sections that they name."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            title = param.rich_help_panel or f"{param.param_type_name}s".capitalize()
            if record := param.get_help_record(ctx):
                sections.setdefault(title, []).append(record)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The examples, a line each."""
        formatter.write(f"\n{self.epilog}\n" if self.epilog else "")


class Command(_Everywhere, TyperCommand):
    """A command."""


class Group(_Everywhere, TyperGroup):
    """A command with commands of its own."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and options, then every command with its whole summary."""
        super().format_options(ctx, formatter)
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.commands[name].help or "") for name in self.list_commands(ctx)])


class Application(Group):
    """The group of all commands, with our own errors in place of Typer's."""

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
        session = Session(arguments=tuple(sys.argv[1:] if args is None else args))
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

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order in which people come to need them. Typer puts those with commands of their own at the end."""
        return sorted(self.commands, key=lambda name: name != "zoo")
