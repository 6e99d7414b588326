"""Every command explains itself, and the documents speak of every command, option and key."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cli.main import app
from patterndb.fields import describe
from patterndb.records import FitRecord
from tests.cli.conftest import PARTIAL, Invoke

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS_PAGE = (DOCS / "commands.md").read_text()
JSON_PAGE = (DOCS / "json.md").read_text()
DOCUMENTS = {
    "zoo": ("zoo",),
    "zoo show": ("zoo", "show", "minilm-l6"),
    "fetch": ("fetch", "SOME", "--dry-run"),
    "show": ("show", "alpha"),
    "mine --dry-run": ("mine", "SOME", "--dry-run"),
    "models": ("models",),
    "models rm": ("models", "rm", "alpha", "--dry-run"),
    "models prune": ("models", "prune"),
    "compare": ("compare", "alpha", "beta"),
    "similar": ("similar", "alpha", "--by", "lineage"),
    "taxonomy": ("taxonomy",),
    "ask": ("ask", "DNA", "--layers", "--peaks", "1", "--at", "0.5,0"),
    "runs": ("runs",),
    "runs --diff": ("runs", "--diff", "run-1", "OTHER"),
    "tune": ("tune", "SOME", "--trials", "1", "--dna-type", "spectral"),
    "library list": ("library", "list"),
    "library show": ("library", "show", "some"),
    "init": ("init", "SPECIMEN", "--pattern", "some", "--out", "OUT"),
    "combine": ("combine", "SPECIMEN", "SPECIMEN"),
    "transplant": ("transplant", "--from", "SPECIMEN:0", "--to", "SPECIMEN:0", "--steps", "0", "--out", "OUT"),
    "db current": ("db", "current"),
    "db check": ("db", "check"),
}

MADE = {"DNA": "dna_file", "OTHER": "other_run"}
"""Words that stand for what a fixture makes."""


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with its path."""
    group = typer.main.get_command(app) if group is None else group
    for name, command in group.commands.items():
        if not hasattr(command, "commands") or command.invoke_without_command:
            yield (*path, name), command
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))


COMMANDS = dict(commands())


def sections(page: str) -> dict[str, str]:
    """Heading of the second level -> what stands below it."""
    parts = re.split(r"^## (.+)$", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_has_a_summary_and_examples(path: tuple[str, ...], invoke: Invoke) -> None:
    result = invoke(*path, "--help")
    assert result.exit_code == 0
    summary = COMMANDS[path].help.strip()
    assert summary.endswith(".") and "\n" not in summary
    shown = [line.split() for line in result.stdout.split("Examples:\n")[1].splitlines()]
    assert all({"dna-zoo", *path} <= {*words} for words in shown) and shown


@pytest.mark.parametrize("path", [(), *COMMANDS], ids=" ".join)
def test_help_at_80_columns_cuts_no_choice_list(path: tuple[str, ...], invoke: Invoke) -> None:
    text = invoke(*path, "-h", COLUMNS="80").stdout
    assert text == invoke(*path, "--help", COLUMNS="80").stdout
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    params = COMMANDS[path].params if path else []
    lists = [re.findall(r"[\w-]+(?:\|[\w-]+)+", f"{param.metavar} {param.help}") for param in params]
    assert [choices for found in lists for choices in found if choices not in text] == []


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_parameter_is_described(path: tuple[str, ...]) -> None:
    assert [param.name for param in COMMANDS[path].params if not param.help] == []


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_command_and_its_options_are_documented(path: tuple[str, ...]) -> None:
    section = sections(COMMANDS_PAGE)[f"`dna-zoo {' '.join(path)}`"]
    options = [name for param in COMMANDS[path].params for name in param.opts if name.startswith("--")]
    assert [name for name in options if name not in section] == []
    assert f"dna-zoo {' '.join(path)}" in section.partition("```")[2]


def test_documents_speak_of_no_command_that_is_not_there() -> None:
    titles = {title for title in sections(COMMANDS_PAGE) if title.startswith("`dna-zoo")}
    assert titles == {f"`dna-zoo {' '.join(path)}`" for path in COMMANDS}


def flatten(value: Any, free: set[str], path: str = "") -> Iterator[str]:
    """Every key that the document holds, as json.md writes it; nothing below a free one."""
    if isinstance(value, dict) and path not in free:
        for key, item in value.items():
            yield from flatten(item, free, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for item in value:
            yield from flatten(item, free, f"{path}[]")
    else:
        yield path


def documented(title: str) -> dict[str, str]:
    """Key -> type, of a section of json.md."""
    return dict(re.findall(r"^\| `([^`]+)` \| ([^|]+?) \|", sections(JSON_PAGE)[title], flags=re.MULTILINE))


def placed(word: str, tiny_model: Path) -> str:
    """A word of a command line, with paths in place of names."""
    word = word.replace("SPECIMEN", str(DOCS.parent / "data" / "specimens" / "vit-a"))
    return {"SOME": str(tiny_model), "OUT": str(tiny_model.parent / "out")}.get(word, word)


@pytest.mark.parametrize(
    "title", [pytest.param(each, marks=pytest.mark.slow) if each == "tune" else each for each in DOCUMENTS]
)
def test_json_has_the_documented_keys_and_no_others(
    title: str, ask: Callable[..., Any], tiny_model: Path, request: pytest.FixtureRequest
) -> None:
    made = {word: str(request.getfixturevalue(name)) for word, name in MADE.items() if word in DOCUMENTS[title]}
    document = ask(*(made.get(word) or placed(word, tiny_model) for word in DOCUMENTS[title]))
    types = documented(title)
    free = {key for key, kind in types.items() if kind == "free"}
    parents = {key for key, kind in types.items() if kind == "object or null"}
    found = set(flatten(document, free))
    assert found - set(types) == set()
    assert set(types) - parents - found == set()


def test_figures_of_a_fit_are_documented_as_their_record_says() -> None:
    types = {str: "string", int: "integer", float: "number"}
    rows = [
        f"| `fit.{each.name}` | {types[each.kind]}{' or null' * each.is_optional} | {each.meaning} |"
        for each in describe(FitRecord)
    ]
    assert [row for row in JSON_PAGE.splitlines() if row.startswith("| `fit.")] == rows


def test_one_run_is_as_documented_for_the_list(ask: Callable[..., Any]) -> None:
    assert ask("runs", PARTIAL) == next(run for run in ask("runs") if run["run"] == PARTIAL)
