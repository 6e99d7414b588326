"""What becomes of what strangers send: generated inputs, each given to the product, and what came of them.

    python -m benchmarks.hostile                          # 10,000 inputs; kept kind by kind
    python -m benchmarks.hostile --inputs 500 --out ''    # and keep nothing
    python -m benchmarks.hostile --kinds shapes 'GGUF files'    # those alone, in place of what is kept of them
    python -m benchmarks.hostile --page                   # the table of the last run, into docs/hostile.md

An input is right if it is answered as an independent reading or the undamaged file says, or refused in two sentences.
It is wrong if it ends in another exception, takes more than ten seconds of work or memory beyond twice the file and 500
MiB, leaves its run `running`, starts a process, opens a connection or a file beside the home, has values read that are
not in the file or other figures told, sends control characters to the terminal, or tells a password. A worker is a
process that judges one input after the other; a new one is started after an input that ended it. Models are
read; those of the last kind are mined and shown. Exit code 1 if anything was wrong.
"""

import argparse
import json
import select
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.hostile.kinds import KINDS
from benchmarks.hostile.limits import SECONDS
from benchmarks.parts.scaffold import make_parser, read_results, write_figures, write_results

__all__ = ["RIGHT", "judged", "shared_out"]

RIGHT = ("answered", "refused")
PATIENCE = 30 * SECONDS
"""Seconds on the clock after which a worker that says nothing is killed."""
ROOT = Path(__file__).parents[2]
PAGE, COMMAND = ROOT / "docs" / "hostile.md", "python -m benchmarks.hostile --page"

Found = dict[str, Any]


def main() -> None:
    """Judge every input, print the table, keep the counts."""
    options = parse()
    if options.page:
        write_figures(PAGE, COMMAND, page_lines(read_results(options.out)))
        return
    kinds = options.kinds or list(KINDS)
    counts = shared_out(options.inputs)
    tasks = [(kind, options.seed, number) for kind in kinds for number in range(counts[kind])]
    started, found, before = time.monotonic(), list[Found](), read_results(options.out) if options.kinds else {}
    for each in judged(tasks):
        found.append(each)
        if options.out and len(found) == sum(counts[kind] for kind in by_kind(found)):  # The last one of a kind.
            write_results(options.out, merged(before, kept(found, options.seed)))
    wrong = wrong_of(found)
    print("\n".join(table(found)))
    for each in sample_of(wrong, options.show):
        print(f"\n{each['kind']} {each['number']}: {each['verdict']}\n{each['reason'][-1500:]}")
    print(f"\n{len(found):,} inputs, {len(wrong):,} wrong, {time.monotonic() - started:,.0f} s")
    sys.exit(bool(wrong))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="hostile")
    parser.add_argument("--inputs", type=int, default=10_000, help="of all kinds together")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, help="judge those of these kinds alone")
    parser.add_argument("--show", type=int, default=3, help="wrong inputs of each kind that are printed with reasons")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", action="store_true", help="write the table of the kept results into docs/hostile.md")
    return parser.parse_args()


def shared_out(inputs: int) -> dict[str, int]:
    """How many inputs of each kind make at least so many, by their shares; one of each at least."""
    total = sum(kind.share for kind in KINDS.values())
    return {name: max(1, -int(-inputs * kind.share // total)) for name, kind in KINDS.items()}


def judged(tasks: Sequence[tuple[str, int, int]]) -> Iterator[Found]:
    """What a worker says of each input; what ends it is said of the input."""
    worker: subprocess.Popen[str] | None = None
    for kind, seed, number in tasks:
        worker = worker or start()
        assert worker.stdin is not None and worker.stdout is not None
        worker.stdin.write(json.dumps([kind, seed, number]) + "\n")
        worker.stdin.flush()
        line = worker.stdout.readline() if select.select([worker.stdout], [], [], PATIENCE)[0] else None
        found = json.loads(line) if line else None
        if found and found["verdict"] not in RIGHT:
            print(f"{kind} {number}: {found['verdict']}", file=sys.stderr, flush=True)
        if found and found["verdict"] not in ("memory", "hung"):
            yield found
            continue
        worker.kill()
        with worker:  # Closes its pipes.
            reason = f"the process ended with {worker.wait()}" if line == "" else "nothing was said"
        worker = None
        yield found or {"kind": kind, "number": number, "verdict": "died", "reason": reason, "s": 0.0, "mib": 0.0}
    if worker:
        with worker:  # Nothing more comes through its pipe, so it ends, and removes what it made.
            pass


def start() -> "subprocess.Popen[str]":
    """A worker that reads inputs from its pipe."""
    command = [sys.executable, "-B", "-W", "ignore", "-m", "benchmarks.hostile.judge"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)


def table(found: Sequence[Found]) -> Iterator[str]:
    """Lines of the counts: kinds, and what came of them."""
    counts = Counter((each["kind"], each["verdict"]) for each in found)
    verdicts = verdicts_of(verdict for _, verdict in counts)
    yield (
        f"{'kind':26}{'inputs':>8}"
        + "".join(f"{verdict:>14}" for verdict in verdicts)
        + f"{'mean s':>9}{'longest s':>11}"
    )
    for kind, each in by_kind(found).items():
        numbers = "".join(f"{counts[kind, verdict]:>14,}" for verdict in verdicts)
        seconds = [one["s"] for one in each]
        yield f"{kind:26}{len(each):>8,}{numbers}{sum(seconds) / len(each):>9.2f}{max(seconds):>11.1f}"


def wrong_of(found: Iterable[Found]) -> list[Found]:
    """The inputs that were neither answered rightly nor refused."""
    return [each for each in found if each["verdict"] not in RIGHT]


def verdicts_of(found: Iterable[str]) -> list[str]:
    """What came of inputs, the right first."""
    return [*RIGHT, *sorted({verdict for verdict in found if verdict not in RIGHT})]


def by_kind(found: Sequence[Found]) -> dict[str, list[Found]]:
    """The inputs of each kind, in the order of the table of kinds."""
    grouped: dict[str, list[Found]] = defaultdict(list)
    for each in found:
        grouped[each["kind"]].append(each)
    return {kind: grouped[kind] for kind in KINDS if kind in grouped}


def sample_of(wrong: Sequence[Found], count: int) -> Iterator[Found]:
    """Some of each kind and verdict."""
    seen: Counter[tuple[str, str]] = Counter()
    for each in wrong:
        seen[each["kind"], each["verdict"]] += 1
        if seen[each["kind"], each["verdict"]] <= count:
            yield each


def kept(found: Sequence[Found], seed: int) -> dict[str, Any]:
    """The counts by kind, and every wrong input with the end of its reason."""
    rows = [
        {
            "kind": kind,
            "inputs": len(each),
            **Counter(one["verdict"] for one in each),
            "longest_s": round(max(one["s"] for one in each), 2),
            "most_mib": round(max(one["mib"] for one in each)),
        }
        for kind, each in by_kind(found).items()
    ]
    short = [{**each, "reason": each["reason"][-400:]} for each in wrong_of(found)]
    return {"seed": seed, "inputs": len(found), "wrong": short, "rows": rows}


def merged(before: Mapping[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The results with those of other kinds that were kept before, where they are of the same seed."""
    if before.get("seed") != found["seed"]:
        return found
    own = {row["kind"] for row in found["rows"]}
    rows = {row["kind"]: row for row in (*before["rows"], *found["rows"])}
    wrong = [*(each for each in before["wrong"] if each["kind"] not in own), *found["wrong"]]
    ordered = [rows[kind] for kind in KINDS if kind in rows]
    return {**found, "inputs": sum(row["inputs"] for row in ordered), "wrong": wrong, "rows": ordered}


def page_lines(results: Mapping[str, Any]) -> Iterator[str]:
    """The kept counts as a table in Markdown."""
    rows = results["rows"]
    yield f"{results['inputs']:,} inputs of seed {results['seed']}, of which {len(results['wrong']):,} were not right."
    yield ""
    yield "| kind | inputs | answered | refused | not right | longest, s | most memory, MiB |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for row in rows:
        right = [row.get(verdict, 0) for verdict in RIGHT]
        yield (
            f"| {row['kind']} | {row['inputs']:,} | {right[0]:,} | {right[1]:,} | {row['inputs'] - sum(right):,} |"
            f" {row['longest_s']:.1f} | {row['most_mib']:,} |"
        )


if __name__ == "__main__":
    main()
