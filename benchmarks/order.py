"""Seriation: seconds and peak memory, from an attention matrix to the largest embedding of the zoo.

    python benchmarks/order.py

Random weights of the true shapes: the cost does not depend on the values.
"""

import resource
import time

import numpy as np

from pipeline.order import seriate
from zoo.tensors import Axis

SHAPES = (
    ("MiniLM-L6 query", 384, 384, Axis.ATTENTION),
    ("MiniLM-L6 ffn_in", 1536, 384, Axis.HIDDEN),
    ("DistilBERT ffn_in", 3072, 768, Axis.HIDDEN),
    ("MiniLM-L6 token embedding", 30522, 384, Axis.VOCABULARY),
    ("DeBERTa token embedding", 128100, 768, Axis.VOCABULARY),
)


def main() -> None:
    """One line a shape; memory is the process's peak so far, in MiB."""
    print(f"{'matrix':28}{'rows':>8}{'cols':>6}{'seconds':>9}{'peak MiB':>10}")
    for name, rows, cols, axis in SHAPES:
        matrix = np.random.default_rng(0).standard_normal((rows, cols), dtype=np.float32)
        started = time.perf_counter()
        seriate(matrix, row_axis=axis, col_axis=Axis.RESIDUAL)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{name:28}{rows:8,}{cols:6}{seconds:9.2f}{peak:10,.0f}")


if __name__ == "__main__":
    main()
