"""What an exception means to the caller of `dna-zoo`: an exit code, and two sentences on stderr."""

import traceback
from dataclasses import dataclass

import typer

from cli.output import print_error
from dna_zoo.errors import DnaZooError, SettingsError
from dna_zoo.files import NO_ROOM

__all__ = ["DONE", "FAILED", "INTERRUPTED", "SOME_FAILED", "USAGE", "exit_code", "report"]

DONE = 0
FAILED = 1
USAGE = 2
SOME_FAILED = 3
INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """How an exception is shown, and what the process ends with."""

    code: int
    message: str
    hint: str


def report(error: BaseException, *, program: str, debug: bool) -> int:
    """Show the error on stderr, with its traceback if `debug`, and return the exit code."""
    verdict = _judge(error, program)
    if debug:
        print_error("".join(traceback.format_exception(error)).rstrip(), is_plain=True)
    print_error(verdict.message, verdict.hint)
    return verdict.code


def exit_code(*, num_models: int, num_done: int) -> int:
    """Of a command on several models: done, failed, or some of both."""
    if num_done == num_models:
        return DONE
    return SOME_FAILED if num_done else FAILED


def _judge(error: BaseException, program: str) -> _Verdict:
    """The one table: exception -> exit code and sentences. The first row that fits counts."""
    match error:
        case SettingsError():
            return _Verdict(code=USAGE, message=error.message, hint=error.hint)
        case DnaZooError():
            return _Verdict(code=FAILED, message=error.message, hint=error.hint)
        case typer.TyperException():
            hint = f"See `{_program_of(error, program)} --help`."
            return _Verdict(code=error.exit_code, message=_sentence(error.format_message()), hint=hint)
        case KeyboardInterrupt() | typer.Abort():
            hint = "Run the same command again: finished stages are not repeated."
            return _Verdict(code=INTERRUPTED, message="Interrupted.", hint=hint)
        case OSError() if error.errno in NO_ROOM:
            message = f"The disk of {str(error.filename)!r} is full." if error.filename else "The disk is full."
            return _Verdict(code=FAILED, message=message, hint="Free some space and run the same command again.")
        case OSError() if error.filename is not None:
            message = f"{str(error.filename)!r}: {_sentence(error.strerror or str(error))}"
            return _Verdict(code=FAILED, message=message, hint="Check the path, its permissions and the disk.")
    message = f"Unexpected {type(error).__name__}: {_sentence(str(error) or 'no message')}"
    hint = "This is a bug: run again as `dna-zoo --debug ...` and report what it shows."
    return _Verdict(code=FAILED, message=message, hint=hint)


def _program_of(error: typer.TyperException, program: str) -> str:
    """`dna-zoo mine`, where the error knows which command it is about."""
    context = getattr(error, "ctx", None)
    return str(context.command_path) if context is not None else program


def _sentence(text: str) -> str:
    """The text on one line, with a full stop."""
    text = " ".join(text.split())
    return text if text.endswith((".", "?", "!")) else f"{text}."
