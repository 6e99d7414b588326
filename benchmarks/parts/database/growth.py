"""How fast a cost grows: the slope of log(cost) over log(size)."""

from collections.abc import Sequence

import numpy as np

__all__ = ["slope"]


def slope(sizes: Sequence[float], costs: Sequence[float | None]) -> str:
    """By least squares, as text; `unknown` with fewer than two."""
    known = [(size, cost) for size, cost in zip(sizes, costs, strict=True) if cost is not None and cost > 0]
    if len(known) < 2:
        return "unknown"
    x, y = np.log(np.array(known, dtype=float)).T
    return f"{np.polyfit(x, y, 1)[0]:.2f}"
