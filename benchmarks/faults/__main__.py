"""Faults, so many of each kind, and what came of a mine and its database.

    python -m benchmarks.faults                               # all of them: about an hour of one core
    python -m benchmarks.faults --kinds kills --count 20 --out ''
    python -m benchmarks.faults --small --out ''              # a few of each, as the tests do
    python -m benchmarks.faults --page                        # the tables of docs/reliability.md, from the kept results

Processes are killed, disks filled and servers stopped for real. What needs rights that the machine does not give is
said and left out. Exit code 1 if one fault was not survived as it must be.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import numpy as np

from benchmarks.faults.commands import import_everything, run
from benchmarks.faults.kinds import KINDS
from benchmarks.faults.page import write_page
from benchmarks.faults.subject import mine_words, write_tiny_model
from benchmarks.faults.trial import Place, Trial, Unavailable
from benchmarks.parts.scaffold import RESULTS, make_parser, read_results, write_results


def main() -> int:
    """Try every kind, print the counts, keep them."""
    options = parse()
    if options.page:
        write_page(read_results(options.out, folder=options.folder))
        return 0
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="dna-zoo-faults-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        import_everything(run(*mine_words(write_tiny_model(folder / "first", 0)), home=folder / "home"))
        for kind in options.kinds or KINDS:
            count = options.count or (KINDS[kind].small if options.small else KINDS[kind].full)
            for found in tried(kind, folder / kind, count, options.seed):
                if options.out:  # What is broken off is kept as far as it came.
                    kept = read_results(options.out, folder=options.folder)
                    write_results(options.out, kept | {kind: found}, folder=options.folder)
            tell(kind, found)
            wrong += sum(row["wrong"] for row in found["rows"])
    print(f"\n{wrong} not survived as they must be")
    return min(wrong, 1)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="faults")
    parser.add_argument("--kinds", nargs="*", choices=KINDS)
    parser.add_argument("--count", type=int, help="of each kind, in place of its own")
    parser.add_argument("--small", action="store_true", help="a few of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where results are kept")
    parser.add_argument(
        "--page", action="store_true", help="write the tables into docs/reliability.md, and try nothing"
    )
    return parser.parse_args()


def tried(kind: str, folder: Path, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """The counts of a kind so far, after each trial, and in the end."""
    folder.mkdir()
    folder.chmod(0o755)
    began, trials = time.monotonic(), list[Trial]()
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])

    def found(**more: Any) -> dict[str, Any]:
        rows = [row_of(case, trials) for case in cases(trials)]
        return {"count": count, "seed": seed, "seconds": round(time.monotonic() - began), **more, "rows": rows}

    try:
        for trial in KINDS[kind].tries(Place(folder=folder, count=count, rng=rng)):
            # Where the machine keeps its temporary files is no result.
            said, wrong = (text.replace(str(folder), "FOLDER") for text in (trial.said, trial.wrong))
            trial = replace(trial, said=said, wrong=wrong)
            trials.append(trial)
            if trial.wrong:
                print(f"{kind}: {trial.case}: WRONG: {trial.wrong}", flush=True)
            yield found(broken_off=True)
        yield found()
    except Unavailable as reason:
        yield found(left_out=str(reason))


def tell(kind: str, found: Mapping[str, Any]) -> None:
    """Print the counts of a kind."""
    if "left_out" in found:
        print(f"{kind}: left out: {found['left_out']}", flush=True)
    for row in found["rows"]:
        numbers = ", ".join(f"{number:,} {name}" for name, number in row["numbers"].items())
        print(f"{kind:10}  {row['case']:58}{row['tried']:6}{row['wrong']:6} wrong  {numbers}", flush=True)


def cases(trials: list[Trial]) -> list[str]:
    """The cases, in the order in which they came first."""
    return list(dict.fromkeys(trial.case for trial in trials))


def row_of(case: str, trials: list[Trial]) -> dict[str, Any]:
    """A line of the table."""
    ours = [trial for trial in trials if trial.case == case]
    numbers: Counter[str] = Counter()
    for trial in ours:
        numbers.update(trial.numbers)
    wrong = [trial.wrong for trial in ours if trial.wrong]
    said = Counter(trial.said for trial in ours if trial.said)
    return {
        "case": case, "tried": len(ours), "wrong": len(wrong), "numbers": dict(numbers),
        "said": dict(said.most_common(20)), "reasons": wrong[:5],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
