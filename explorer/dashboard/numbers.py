"""Numbers as the page writes them. What is unknown is a dash, never a zero."""

import math
from typing import Any

__all__ = ["MISSING", "cell_text", "compact", "count", "duration", "fixed", "is_missing", "p_value"]

MISSING = "–"


def is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def fixed(value: float | None, digits: int = 3) -> str:
    """Three digits behind the point; in powers of ten where those would say nothing."""
    if value is None or is_missing(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    small = 0 < abs(value) < 0.5 * 10**-digits or abs(value) >= 1e6
    text = f"{value:.2e}" if small else f"{value:.{digits}f}"
    return text.replace("-", "−")


def p_value(value: float | None) -> str:
    return MISSING if value is None or is_missing(value) else f"{value:.2g}"


def count(value: int | None) -> str:
    return MISSING if value is None else f"{value:,}"


def compact(value: float | None) -> str:
    """22.7 M."""
    if value is None or is_missing(value):
        return MISSING
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:g}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def cell_text(value: Any) -> str:
    """A cell of any kind."""
    if is_missing(value):
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    return fixed(value) if isinstance(value, float) else str(value)
