"""Every layout of checkpoints made small: what it is, what was read, and whether that is what it must be.

python -m benchmarks.layouts            # exit code 1 if one is read otherwise
python -m benchmarks.layouts --page     # the tables of docs/checkpoints.md
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.layouts import LAYOUTS
from benchmarks.layouts.layout import Outcome, try_layout
from benchmarks.parts.scaffold import write_figures

PAGE = Path(__file__).parents[2] / "docs" / "checkpoints.md"
COMMAND = "python -m benchmarks.layouts --page"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="write the tables into docs/checkpoints.md")
    arguments = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        for number, layout in enumerate(LAYOUTS):
            outcome = try_layout(layout, Path(folder) / str(number))
            outcomes.append(outcome)
            print(f"{layout.group:<10}  {layout.name:<44}  {_verdict(outcome)}", flush=True)
    wrong = sum(bool(outcome.wrong) for outcome in outcomes)
    print(f"{len(outcomes)} layouts, {wrong} read otherwise than they must be")
    if arguments.page and not wrong:
        write_figures(PAGE, COMMAND, _table(outcomes))
    return min(wrong, 1)


def _verdict(outcome: Outcome) -> str:
    return f"WRONG ({outcome.wrong})  {outcome.read}" if outcome.wrong else f"ok  {outcome.read}"


def _table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield "| group | layout | what is read, or why it is not |"
    yield "|---|---|---|"
    yield from map(row_of, outcomes)


def row_of(outcome: Outcome) -> str:
    """A row of the page."""
    return f"| {outcome.layout.group} | {outcome.layout.name} | {outcome.read.replace('|', '/')} |"


if __name__ == "__main__":
    raise SystemExit(main())
