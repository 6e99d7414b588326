"""The figures of docs/scale.md about questions to a large database, from what `benchmarks.database` left.

python -m benchmarks.database --page
"""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.parts.growth import slope
from benchmarks.parts.scaffold import read_results, write_figures

__all__ = ["write_page"]

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
COMMAND = "python -m benchmarks.database --page"
TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL with pgvector"}
Found = Mapping[str, Any]


def write_page() -> None:
    """Put the figures between the two marks of the page."""
    found = read_results("database")
    write_figures(PAGE, COMMAND, [line for part in (_models(found), _rows(found), _recall(found)) for line in part])


def _models(found: Found) -> Iterator[str]:
    """Seconds of each command by the number of models, and their memory at the most."""
    note = f" {found['note'].strip().rstrip('.')}." if found.get("note") else ""
    yield _filled(
        "Seconds of a command as a function in a warm process: on the clock (least of three), and in brackets on the",
        "processor, of all threads; the exponent is of these. Memory: the peak at the most models.",
        f"`taxonomy` and `questions` ran once.{note}",
    )
    for engine, sizes in found["models"].items():
        counts = sorted(map(int, sizes))
        yield ""
        yield f"| {TITLES[engine]} | {' | '.join(f'{count:,} models' for count in counts)} | exponent | memory |"
        yield "|---" * (len(counts) + 3) + "|"
        for command in dict.fromkeys(name for count in counts for name in sizes[str(count)]):
            cells = [sizes[str(count)].get(command) for count in counts]
            yield _row(command, counts, cells)


def _row(command: str, counts: list[int], cells: list[Any]) -> str:
    """One command; what is done once has neither processor nor memory of its own."""
    figures = [each for each in cells if isinstance(each, Mapping)]
    memory = f"{figures[-1]['mib']:,.0f} MiB" if figures else ""
    costs = [each["processor"] if isinstance(each, Mapping) else each for each in cells]
    return f"| {command} | {' | '.join(map(_cell, cells))} | {slope(counts, costs)} | {memory} |"


def _cell(found: Any) -> str:
    """Seconds on the clock and, in brackets, on the processor."""
    if found is None:
        return ""
    return f"{found['warm']:.3g} ({found['processor']:.2g})" if isinstance(found, Mapping) else f"{found:.3g}"


def _rows(found: Found) -> Iterator[str]:
    """The same of patterns with little in them."""
    for engine, sizes in found["rows"].items():
        counts = sorted(map(int, sizes))
        yield ""
        title = f"{TITLES[engine].partition(' ')[0]}, little in a pattern"
        yield f"| {title} | {' | '.join(f'{count:,}' for count in counts)} | exponent | memory |"
        yield "|---" * (len(counts) + 3) + "|"
        for command in sizes[str(counts[-1])]:
            yield _row(command, counts, [sizes[str(count)].get(command) for count in counts])


def _recall(found: Found) -> Iterator[str]:
    """How good the candidates of pgvector are."""
    if found["recall"]:
        shares = ", ".join(f"{share:.3f} of {int(count):,} models" for count, share in found["recall"].items())
        yield ""
        yield _filled(
            "Recall at 10 through pgvector, of what all signatures show (20 models, by weights and by kind):",
            f"{shares}.",
        )


def _filled(*sentences: str) -> str:
    """One paragraph, in lines of the length of the other pages."""
    return textwrap.fill(" ".join(sentences), width=120, break_long_words=False, break_on_hyphens=False)
