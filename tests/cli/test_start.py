"""Commands that read start without torch; the application's own options."""

import json
from pathlib import Path

import pytest

from dna_zoo import __version__
from tests.cli.conftest import Invoke, Start

pytestmark = pytest.mark.slow

CODE = """
import json, sys
from cli.main import app
code = app(sys.argv[1:], standalone_mode=False)
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""
READING = [
    ("--help",),
    ("mine", "--help"),
    ("zoo",),
    ("show", "alpha"),
    ("runs",),
    ("similar", "alpha"),
    ("compare", "alpha", "beta"),
    ("questions",),
    ("taxonomy",),
    ("db", "current"),
]


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_reading_loads_no_torch(arguments: tuple[str, ...], start: Start, tmp_path: Path) -> None:
    process = start("-q", *(argument.format(folder=tmp_path) for argument in arguments), code=CODE)
    _, stderr = process.communicate(timeout=120)
    code, modules = json.loads(stderr.splitlines()[-1])
    assert code == 0, stderr
    assert {"torch", "transformers"}.isdisjoint(modules)


@pytest.mark.parametrize("arguments", [(), ("db",)])
def test_a_bare_group_shows_its_help(arguments: tuple[str, ...], invoke: Invoke) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stderr) == (0, "") and "Commands" in result.stdout


def test_version(invoke: Invoke) -> None:
    assert invoke("--version").stdout == f"dna-zoo {__version__}\n"


def test_options_of_every_command_stand_before_or_after_it(invoke: Invoke, tmp_path: Path) -> None:
    for arguments in (("-q", "show", "alpha"), ("show", "-q", "alpha"), ("zoo", "show", "minilm-l6", "-q")):
        assert invoke(*arguments).stderr == ""
    url = f"sqlite:///{tmp_path / 'other.db'}"
    assert invoke("db", "upgrade", "--db", url).exit_code == 0
    for arguments in (("--db", url, "runs"), ("runs", "--db", url), ("--db", "nonsense", "runs", "--db", url)):
        assert invoke(*arguments, "--format", "quiet", DNA_ZOO_DB="nonsense").stdout == ""
    assert "Traceback" in invoke("show", "nosuch", "--debug").stderr


def test_the_last_home_counts(invoke: Invoke, environment: dict[str, str], tmp_path: Path) -> None:
    assert invoke("--home", environment["DNA_ZOO_HOME"], "runs", "--home", str(tmp_path / "nowhere")).exit_code == 1
    assert invoke("--home", str(tmp_path / "nowhere"), "runs", "--home", environment["DNA_ZOO_HOME"]).exit_code == 0


@pytest.mark.parametrize("arguments", [("-v", "-q", "zoo"), ("-v", "zoo", "-q"), ("zoo", "show", "-qv", "minilm-l6")])
def test_saying_more_and_less_contradict_each_other(arguments: tuple[str, ...], invoke: Invoke) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "") and "`-v` and `-q`" in result.stderr
