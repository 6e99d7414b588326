"""The figures of docs/scale.md about questions to a large database, from what `benchmarks.database` left.

python -m benchmarks.database --page
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.parts.database.growth import slope
from benchmarks.parts.scaffold import filled, read_results, write_figures

__all__ = ["COMMAND", "PAGE", "page_lines", "write_page"]

PAGE = Path(__file__).parents[3] / "docs" / "scale.md"
COMMAND = "python -m benchmarks.database --page"
TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL with pgvector"}
Found = Mapping[str, Any]


def write_page() -> None:
    """Put the figures between the two marks of the page."""
    write_figures(PAGE, COMMAND, page_lines())


def page_lines() -> Iterator[str]:
    """The figures, from what is kept."""
    found = read_results("database")
    for part in (_models, _rows, _upgrades, _recall):
        yield from part(found)


def _models(found: Found) -> Iterator[str]:
    """Seconds of each command by the number of models, and their memory at the most."""
    note = f" {found['note'].strip().rstrip('.')}." if found.get("note") else ""
    yield filled(
        "Seconds of a command as a function in an open database: on the clock (least of three), and in brackets on the",
        "processor, of all threads of the process; the exponent is of these. What the server computes is on the clock",
        "alone. Memory: the peak of the process at the most models. `index`, `taxonomy`, `questions` and whole tables",
        "ran once. `similar, from a shell` is the command with its start and its imports. "
        f"{_load(found, 'models', 'rows')}{note}",
    )
    for engine, sizes in found["models"].items():
        counts = sorted(map(int, sizes))
        yield ""
        yield f"| {TITLES[engine]} | {' | '.join(f'{count:,} models' for count in counts)} | exponent | memory |"
        yield "|---" * (len(counts) + 3) + "|"
        for command in _commands(sizes):
            cells = [sizes[str(count)].get(command) for count in counts]
            yield _row(command, counts, cells)


def _commands(sizes: Found) -> list[str]:
    """What was measured at any size."""
    return list(dict.fromkeys(name for figures in sizes.values() for name in figures if name != "load"))


def _load(found: Found, *kinds: str) -> str:
    """How busy the machine was before each size of these was measured."""
    loads = [
        figures["load"]
        for kind in kinds
        for sizes in found[kind].values()
        for figures in sizes.values()
        if "load" in figures
    ]
    return f"Load of the machine before each size: {min(loads):.1f} to {max(loads):.1f}." if loads else ""


def _row(command: str, counts: list[int], cells: list[Any]) -> str:
    """One command; what is done once has neither processor nor memory of its own."""
    figures = [each for each in cells if isinstance(each, Mapping)]
    memory = f"{figures[-1]['mib']:,.0f} MiB" if figures and "mib" in figures[-1] else ""
    costs = [each["processor"] if isinstance(each, Mapping) else each for each in cells]
    return f"| {command} | {' | '.join(map(_cell, cells))} | {slope(counts, costs)} | {memory} |"


def _cell(found: Any) -> str:
    """Seconds on the clock and, in brackets, on the processor."""
    if found is None:
        return ""
    return f"{found['warm']:.3g} ({found['processor']:.2g})" if isinstance(found, Mapping) else f"{found:.3g}"


def _rows(found: Found) -> Iterator[str]:
    """The same of patterns with little in them."""
    yield from _tables(found["rows"], ", little in a pattern", "")


def _upgrades(found: Found) -> Iterator[str]:
    """The same of `db upgrade`."""
    if found.get("upgrade"):
        yield ""
        yield filled(
            "`db upgrade` from schema 0012, once: it makes a digest of each run and of each model and stage of a run,",
            f"seven rows a model. {_load(found, 'upgrade')}",
        )
        yield from _tables(found["upgrade"], "", " models")


def _tables(of_engines: Found, about: str, what: str) -> Iterator[str]:
    """A table for each engine: `about` stands behind its name, `what` behind each number."""
    for engine, sizes in of_engines.items():
        counts = sorted(map(int, sizes))
        heads = " | ".join(f"{count:,}{what}" for count in counts)
        yield ""
        yield f"| {TITLES[engine].partition(' ')[0]}{about} | {heads} | exponent | memory |"
        yield "|---" * (len(counts) + 3) + "|"
        for command in _commands(sizes):
            yield _row(command, counts, [sizes[str(count)].get(command) for count in counts])


def _recall(found: Found) -> Iterator[str]:
    """How good the candidates of pgvector are."""
    if found["recall"]:
        shares = ", ".join(f"{share:.3f} of {int(count):,} models" for count, share in found["recall"].items())
        yield ""
        yield filled(
            "Recall at 10 through pgvector, of what all signatures show (40 models, by weights and by kind):",
            f"{shares}.",
        )
