"""Commands that read start without the libraries that only mining needs."""

import json
from pathlib import Path

import pytest

from dna_zoo import __version__
from patterndb.store import PatternDatabase
from tests.cli.conftest import Invoke, Start
from tests.support.patterns import make_pattern, save_patterns

HEAVY = (
    "torch",
    "pydantic",
    "transformers",
    "sklearn",
    "scipy",
    "pandas",
    "pyarrow",
    "alembic",
    "huggingface_hub",
)
CODE = """
import json, sys
from cli.main import app
code = app(sys.argv[1:], standalone_mode=False)
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""
LIGHT = [
    ("--help",),
    ("mine", "--help"),
    ("zoo",),
    ("zoo", "show", "minilm-l6"),
    ("show", "alpha"),
    ("runs",),
    ("similar", "alpha"),
    ("compare", "alpha", "beta"),
    ("questions",),
    ("taxonomy",),
    ("db", "current"),
]


def loaded(start: Start, *arguments: str, **environment: str) -> set[str]:
    """Modules that a process has loaded when the command is done."""
    process = start("-q", *arguments, code=CODE, **environment)
    _, stderr = process.communicate(timeout=120)
    code, modules = json.loads(stderr.splitlines()[-1])
    assert code == 0, stderr
    return set(modules)


@pytest.mark.parametrize("arguments", LIGHT, ids=" ".join)
def test_reading_loads_nothing_heavy(arguments: tuple[str, ...], start: Start, tmp_path: Path) -> None:
    given = [argument.format(folder=tmp_path) for argument in arguments]
    assert loaded(start, *given) & set(HEAVY) == set()


@pytest.mark.parametrize("command", [("show", "alpha"), ("runs",), ("similar", "alpha"), ("questions",)], ids=" ".join)
def test_reading_from_a_server_loads_nothing_heavy(command: tuple[str, ...], start: Start, postgres_url: str) -> None:
    with PatternDatabase.open(postgres_url) as database:
        save_patterns(database, make_pattern("alpha"), make_pattern("beta", seed=1))
    assert loaded(start, *command, DNA_ZOO_DB=postgres_url) & set(HEAVY) == set()


def test_one_command_is_loaded_without_the_others(start: Start) -> None:
    assert {name for name in loaded(start, "runs") if name.startswith("cli.commands.")} == {"cli.commands.runs"}


@pytest.mark.parametrize("arguments", [(), ("db",)])
def test_a_bare_group_shows_its_help(arguments: tuple[str, ...], invoke: Invoke) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stderr) == (0, "") and "Commands" in result.stdout


def test_version(invoke: Invoke) -> None:
    assert invoke("--version").stdout == f"dna-zoo {__version__}\n"


FROZEN = """
import atexit, gc
from cli.start import main
atexit.register(lambda: print(gc.get_freeze_count()))
main()
"""


@pytest.mark.parametrize("arguments", [("runs",), ("zoo",), ("mine", "--help")], ids=" ".join)
def test_a_short_command_ends_without_looking_for_garbage(arguments: tuple[str, ...], start: Start) -> None:
    output, _ = start(*arguments, code=FROZEN).communicate(timeout=120)
    assert int(output.splitlines()[-1]) > 0


@pytest.mark.parametrize("command", ["fetch", "mine", "tune"])
def test_a_long_command_collects_garbage_as_usual(command: str, start: Start) -> None:
    output, _ = start(command, "nosuch-model", code=FROZEN).communicate(timeout=120)
    assert int(output.splitlines()[-1]) == 0
