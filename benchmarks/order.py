"""Seriation: seconds and peak memory, from an attention matrix to the largest embedding of the zoo.

    python -m benchmarks.order

Random weights of the true shapes: the cost does not depend on the values. Memory is the largest resident set while the
order is found, the matrix and the interpreter in it. Prints the table and writes it to `benchmarks/results/OUT.json`.
"""

import time
from typing import Any

import numpy as np

from benchmarks.parts.peak_memory import PeakMemory
from benchmarks.parts.scaffold import make_parser, write_results
from pipeline.order import seriate
from zoo.tensors import Axis

SHAPES = (
    ("MiniLM-L6 query", 384, 384, Axis.ATTENTION),
    ("MiniLM-L6 ffn_in", 1536, 384, Axis.HIDDEN),
    ("DistilBERT ffn_in", 3072, 768, Axis.HIDDEN),
    ("MiniLM-L6 token embedding", 30522, 384, Axis.VOCABULARY),
    ("DeBERTa token embedding", 128100, 768, Axis.VOCABULARY),
)
GOALS = {"seconds": 20.0, "mib": 2048.0}
"""Of the last one."""


def main() -> None:
    """One line a shape."""
    parser = make_parser(__doc__, out="order")
    options = parser.parse_args()
    memory = PeakMemory()
    print(f"{'matrix':28}{'rows':>8}{'cols':>6}{'seconds':>9}{'peak MiB':>10}")
    rows = [measure(name, rows, cols, axis, memory) for name, rows, cols, axis in SHAPES]
    print(f"{'goal':42}{GOALS['seconds']:9.2f}{GOALS['mib']:10,.0f}    (memory {memory.method})")
    write_results(options.out, {"goals": GOALS, "method": memory.method, "shapes": rows})


def measure(name: str, rows: int, cols: int, axis: Axis, memory: PeakMemory) -> dict[str, Any]:
    """Order one matrix."""
    matrix = np.random.default_rng(0).standard_normal((rows, cols), dtype=np.float32)
    memory.reset()
    started = time.perf_counter()
    seriate(matrix, row_axis=axis, col_axis=Axis.RESIDUAL)
    seconds, peak = time.perf_counter() - started, memory.peak()
    print(f"{name:28}{rows:8,}{cols:6}{seconds:9.2f}{peak:10,.0f}", flush=True)
    return {"name": name, "rows": rows, "cols": cols, "seconds": seconds, "mib": peak}


if __name__ == "__main__":
    main()
