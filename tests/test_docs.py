"""What the documents say is so: names in the glossary, numbers in its tables, paths, links, commands and options."""

import contextlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import typer
import typer.main
from sqlalchemy import CheckConstraint

from benchmarks.parts.gpu.tolerances import SIGNATURE_TOLERANCE
from cli.main import app
from explorer.kinds import KINDS
from patterndb.records import FitRecord
from patterndb.tables import METADATA
from pipeline.analyse import classes
from pipeline.analyse.measures.host import TOLERANCES
from pipeline.analyse.questions import QUESTIONS, records
from pipeline.analyse.signature import (
    BLOCK_BOUND,
    BLOCK_DIMENSION,
    MATRIX_DIMENSIONS,
    SIGNATURE_NAMES,
    VALUE_DIMENSIONS,
)
from pipeline.analyse.statistics.products import OUTPUT_VALUE, QUERY_KEY
from pipeline.analyse.tensor import analyse_tensor
from pipeline.lineage import Verdict
from pipeline.nulls import NULLS
from pipeline.settings import AnalysisSettings
from tests.support.small_models import matrix_spec
from zoo.tensors import Axis, Role

ROOT = Path(__file__).parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")), ROOT / "benchmarks" / "README.md")
}
GLOSSARY = PAGES["docs/glossary.md"]
FOLDERS = "alembic|benchmarks|cli|data|dna_zoo|docs|explorer|library|patterndb|pipeline|tests|zoo"
PLACEHOLDERS = ("NAME", "NNNN")
EFFECTS = {"_squashed": "arcsinh", "_log10": "log10"}
"""Effects that the signature has for itself, by the names that the glossary gives them."""
STATISTICS = {
    measured.name: measured.kind
    for measured in analyse_tensor(
        np.random.default_rng(0).standard_normal((16, 16), dtype=np.float32),
        matrix_spec("any", 16, 16, row_axis=Axis.POSITION),
        settings=AnalysisSettings(num_nulls=1),
        seed=0,
    ).measured
} | {f"{name}{size}": "reorder" for name in (QUERY_KEY, OUTPUT_VALUE) for size in ("", "_size")}
"""Every statistic of a matrix -> its null."""


def code(page: str) -> str:
    """All that stands in blocks of code and between backticks, a piece a line."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL))
    return "\n".join((*blocks, *spans))


def rows(heading: str) -> list[list[str]]:
    """The cells of every row of the tables below a heading of the glossary, up to the next heading of its level."""
    level = heading.partition(" ")[0]
    text = GLOSSARY.partition(f"\n{heading}\n")[2]
    assert text, f"The glossary has no heading {heading!r}."
    lines = re.split(rf"^#{{2,{len(level)}}} ", text, maxsplit=1, flags=re.MULTILINE)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def statuses() -> set[str]:
    checks = (each for table in METADATA.tables.values() for each in table.constraints)
    texts = [str(each.sqltext) for each in checks if isinstance(each, CheckConstraint)]
    return {word for text in texts if text.startswith("status IN") for word in re.findall(r"'(\w+)'", text)}


NAMES: Mapping[str, set[str]] = {
    "roles": {role.value for role in Role},
    "axes": {axis.value for axis in Axis},
    "classes": {*get_args(classes.PatternClass), classes.UNCALIBRATED},
    "statistics": {*STATISTICS, BLOCK_BOUND, "rows_used"},
    "nulls": {*NULLS, "reorder"},
    "verdicts": {*get_args(Verdict), *get_args(records.Verdict), *get_args(records.Relation)},
    "questions": set(QUESTIONS),
    "fields of a fit": {field.name for field in fields(FitRecord)},
    "statuses": statuses(),
    "parts of a signature": {part for name in SIGNATURE_NAMES for part in name.split("/")[:2]},
}


@pytest.mark.parametrize("kind", NAMES)
def test_the_glossary_has_every_name(kind: str) -> None:
    assert NAMES[kind] - set(names_in(GLOSSARY)) == set()


def test_the_glossary_gives_every_statistic_its_null() -> None:
    told = {name: row[-1].strip("`") for row in rows("## Statistics") if len(row) == 4 for name in names_in(row[0])}
    assert told == {name: kind or "–" for name, kind in STATISTICS.items()}


def test_the_glossary_counts_statistics_and_dimensions() -> None:
    own = [name for name in SIGNATURE_NAMES if name.startswith("fingerprint/")]
    counts = len(SIGNATURE_NAMES), len(SIGNATURE_NAMES) - len(own), len(own)
    assert f"There are {len(STATISTICS)}, in nine blocks" in GLOSSARY
    assert all(f"{count:,}" in GLOSSARY.partition("\n## Signature\n")[2] for count in counts)


def effect_name(effect: Any) -> str:
    return EFFECTS.get(effect.__name__, effect.__name__)


def told_dimensions() -> Iterator[tuple[str, tuple[str, float, float], str]]:
    """Statistic, its effect, centre and scale, and the note, as the glossary has them; ranges are written out."""
    order = [*MATRIX_DIMENSIONS, BLOCK_BOUND]
    for row in rows("### Statistics block")[1:]:
        names = names_in(row[0])
        if " to " in row[0]:
            names = order[order.index(names[0]) : order.index(names[1]) + 1]
        for name in names:
            yield name, (row[1].strip("`"), float(row[2]), float(row[3])), row[4] if len(row) > 4 else ""


def test_the_glossary_tells_how_each_statistic_enters_the_signature() -> None:
    dimensions = {**MATRIX_DIMENSIONS, BLOCK_BOUND: BLOCK_DIMENSION}
    expected = {name: (effect_name(each.effect), each.centre, each.scale) for name, each in dimensions.items()}
    assert {name: numbers for name, numbers, _ in told_dimensions()} == expected
    assert {name for name, _, note in told_dimensions() if note.startswith("*v*")} == set(VALUE_DIMENSIONS)


def test_the_glossary_tells_the_criteria_of_the_classes() -> None:
    told = [(row[0].partition(". ")[2].strip("`") or row[0], *row[1:]) for row in rows("## Classes") if len(row) == 4][
        1:
    ]
    steps = [("evidence", criterion) for criterion in classes.EVIDENCE] + list(classes.STEPS)
    assert [(step, tuple(names_in(names)), effect.strip("`"), float(full)) for step, names, effect, full in told] == [
        (step, each.statistics, effect_name(each.effect), each.full) for step, each in steps
    ]
    assert f"0 up to z = {classes.POSSIBLE_Z:g} and 1 from z = {classes.CERTAIN_Z:g}" in GLOSSARY


def test_the_page_on_numbers_states_the_tolerances_of_a_gpu() -> None:
    section = PAGES["docs/scale.md"].split("## On a GPU")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(?:\*\.)?(\w+)(?:\.\*)?` \|.*\| (\S+) \|$", section, re.MULTILINE)
    assert {name: float(size) for name, size in rows} == {name.strip("."): size for name, size in TOLERANCES.items()}
    assert f"further away than {SIGNATURE_TOLERANCE:.0e}".replace("e-05", "e-5") in section


@pytest.mark.parametrize("page", PAGES)
def test_paths_exist(page: str) -> None:
    text = code(PAGES[page])
    paths = {found.rstrip(".") for found in re.findall(rf"(?<![\w/.:-])(?:{FOLDERS})/[\w./-]+", text)}
    modules = {found.replace(".", "/") for found in re.findall(r"python -m ([\w.]+)", text)} - {"pytest"}
    named = {path for path in paths | modules if not any(word in path for word in PLACEHOLDERS)}
    assert {path for path in named if not ((ROOT / path).exists() or (ROOT / f"{path}.py").exists())} == set()


def files() -> set[str]:
    """Names of all source files of the repository."""
    return {path.name for folder in FOLDERS.split("|") for path in (ROOT / folder).rglob("*.*")}


@pytest.mark.parametrize("page", PAGES)
def test_files_named_without_a_folder_exist(page: str) -> None:
    assert set(re.findall(r"(?<![\w/.*-])\w+\.(?:py|c|sh)\b", code(PAGES[page]))) - files() == set()


def anchors(page: str) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for path, _, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(#([^)\s]+))?\)", PAGES[page]):
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{page} links to {path}"
        assert not anchor or anchor in anchors(target.read_text()), f"{page} links to {path}#{anchor}"


def options(command: Any) -> set[str]:
    return {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {"--help"}


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_their_options_exist(page: str) -> None:
    root = typer.main.get_command(app)
    for line in re.findall(r"\bdna-zoo((?: [^|#)\[\n]+)?)", code(PAGES[page])):
        command: Any = root
        known = options(root)
        for word in line.split():
            if word in getattr(command, "commands", ()):
                command = command.commands[word]
                known |= options(command)
        words = [word for word in line.split() if word.startswith("--")]
        assert command is not root or line.strip() in ("", "COMMAND") or set(words) & known, f"{page}: dna-zoo{line}"
        assert set(words) <= known, f"{page}: dna-zoo{line}"


def lines_of_commands(page: str) -> Iterator[list[str]]:
    """The words behind `dna-zoo` of each line of a block of code that gives such a command."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    for line in re.findall(r"^(?:\S*/)?dna-zoo (.+)$", "\n".join(blocks), flags=re.MULTILINE):
        words = shlex.split(re.sub(r"\$\([^)]*\)", "WORD", line), comments=True)
        end = next((place for place, word in enumerate(words) if word in ("|", ">", "&&", ";")), len(words))
        yield words[:end]


def parse(line: Sequence[str]) -> None:
    """Have the command line understand the words, and do nothing. Raises `typer.TyperException` if it does not."""
    command: Any = typer.main.get_command(app)
    name, words, context = "dna-zoo", [*line], None
    with contextlib.suppress(typer.Exit):  # What `--version` and `--help` end with.
        while True:
            context = command.make_context(name, words, parent=context)
            left = [*context._protected_args, *context.args]
            if not (left and hasattr(command, "commands")):
                return
            name, command, words = command.resolve_command(context, left)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_commands_in_blocks_of_code_are_understood(page: str) -> None:
    for line in lines_of_commands(PAGES[page]):
        if "COMMAND" in line:
            continue
        try:
            parse(line)
        except typer.TyperException as error:
            pytest.fail(f"{page}: dna-zoo {shlex.join(line)}: {error.format_message()}")


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)", code(PAGES[page]), flags=re.MULTILINE)) <= targets


def test_a_command_that_does_not_parse_would_be_seen() -> None:
    (line,) = lines_of_commands("```\ndna-zoo show --nosuch | head\n```\n")
    assert line == ["show", "--nosuch"]
    with pytest.raises(typer.TyperException, match="--nosuch"):
        parse(line)


GALLERY = (ROOT / "docs" / "gallery" / "README.md").read_text()
LARGEST_PICTURE = 60_000


def test_the_gallery_shows_each_of_its_pictures_with_alt_text_and_the_command_that_made_it() -> None:
    shown = re.findall(
        r"^\| !\[(.+?)\]\((\S+)\) \| `dna-zoo plot (\S+).* --out (\S+).*` \|$", GALLERY, flags=re.MULTILINE
    )
    assert sorted(name for _, name, _, _ in shown) == sorted(
        path.name for path in (ROOT / "docs" / "gallery").iterdir() if path.suffix != ".md"
    )
    assert all(name == out and len(alt) > 30 for alt, name, _, out in shown)
    assert {kind for _, _, kind, _ in shown} <= set(KINDS)


def test_pictures_of_the_gallery_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in (ROOT / "docs" / "gallery").iterdir()}
    assert {name: size for name, size in sizes.items() if size > LARGEST_PICTURE} == {}
