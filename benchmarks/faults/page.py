"""The tables of docs/reliability.md, from the kept results."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.parts.scaffold import write_figures

__all__ = ["COMMAND", "PAGE", "table", "write_page"]

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
COMMAND = "python -m benchmarks.faults --kinds {}"
Found = Mapping[str, Any]


def write_page(found: Found) -> None:
    """Write the table of each kind that the page has marks for, from the results; raises `ValueError` without them."""
    for kind, results in found.items():
        write_figures(PAGE, COMMAND.format(kind), table(results))


def table(found: Found) -> Iterator[str]:
    """A row for each case."""
    yield "| what was done | tried | as it must be | counted |"
    yield "|---|---|---|---|"
    for row in found["rows"]:
        counted = ", ".join(f"{number:,} {name}" for name, number in row["numbers"].items() if number)
        yield f"| {row['case']} | {row['tried']:,} | {row['tried'] - row['wrong']:,} | {counted} |"
    if "left_out" in found:
        yield f"| left out: {found['left_out']} | | | |"
    yield ""
    broken_off = ", broken off there" if found.get("broken_off") else ""
    yield f"Seed {found['seed']}, {_duration(found.get('seconds', 0))}{broken_off}."


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
