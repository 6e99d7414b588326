"""What becomes of models from strangers: generated inputs, each mined and shown, and what came of them.

    python -m benchmarks.hostile                          # 10,000 inputs: hours of one core
    python -m benchmarks.hostile --inputs 500 --out ''    # and keep nothing
    python -m benchmarks.hostile --kinds odd_names --seed 3

An input is right if it is answered or refused in two sentences. It is wrong if it ends in another exception, takes more
than ten seconds of work or memory beyond twice the file and 500 MiB, leaves its run `running`, runs code, writes beside
the home, has values read that are not in the file, or sends control characters to the terminal. Workers are processes,
each started anew after an input that ended it. Exit code 1 if anything was wrong.
"""

import argparse
import json
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.hostile.cases import CASES
from benchmarks.hostile.judge import SECONDS
from benchmarks.parts.scaffold import make_parser, write_results

RIGHT = ("answered", "refused")
PATIENCE = 10 * SECONDS
"""Seconds on the clock after which a worker that says nothing is killed."""


def main() -> None:
    """Judge every input, print the table, keep the counts."""
    options = parse()
    kinds = options.kinds or list(CASES)
    tasks = [(kind, options.seed, number) for number in range(-(-options.inputs // len(kinds))) for kind in kinds]
    shares = [tasks[start :: options.jobs] for start in range(options.jobs)]
    with ThreadPoolExecutor(options.jobs) as pool:
        found = [each for share in pool.map(lambda share: list(judged(share)), shares) for each in share]
    counts = Counter((each["kind"], each["verdict"]) for each in found)
    verdicts = sorted({verdict for _, verdict in counts}, key=lambda verdict: (verdict not in RIGHT, verdict))
    print(f"{'kind':20}" + "".join(f"{verdict:>10}" for verdict in verdicts))
    for kind in kinds:
        print(f"{kind:20}" + "".join(f"{counts[kind, verdict]:>10,}" for verdict in verdicts))
    wrong = [each for each in found if each["verdict"] not in RIGHT]
    for each in wrong[: options.show]:
        print(f"\n{each['kind']} {each['number']}: {each['verdict']}\n{each['reason'][-1500:]}")
    print(f"\n{len(found):,} inputs, {len(wrong):,} wrong")
    if options.out:
        rows = [{"kind": kind, "verdict": verdict, "inputs": n} for (kind, verdict), n in sorted(counts.items())]
        write_results(options.out, {"seed": options.seed, "inputs": len(found), "wrong": wrong, "rows": rows})
    sys.exit(bool(wrong))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="hostile")
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--kinds", nargs="*", choices=CASES)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--show", type=int, default=20, help="wrong inputs that are printed with their reasons")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def judged(tasks: Sequence[tuple[str, int, int]]) -> Iterator[dict[str, Any]]:
    """What a worker says of each input; what ends it is said of the input."""
    worker: subprocess.Popen[str] | None = None
    for kind, seed, number in tasks:
        worker = worker or start()
        assert worker.stdin is not None and worker.stdout is not None
        worker.stdin.write(json.dumps([kind, seed, number]) + "\n")
        worker.stdin.flush()
        line = worker.stdout.readline() if select.select([worker.stdout], [], [], PATIENCE)[0] else None
        verdict = json.loads(line)["verdict"] if line else ""
        if line and verdict != "memory":
            yield json.loads(line)
            continue
        worker.kill()
        reason = f"the process ended with {worker.wait()}" if line == "" else "nothing was said"
        worker = None
        yield json.loads(line) if line else {"kind": kind, "number": number, "verdict": "died", "reason": reason}
    if worker:
        worker.kill()


def start() -> "subprocess.Popen[str]":
    """A worker that reads inputs from its pipe."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.hostile.judge"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)


if __name__ == "__main__":
    main()
