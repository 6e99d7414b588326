"""Numbers as people read them: the same digits down a column, and one sign for what is not known."""

import datetime as dt
import math
from collections.abc import Callable

__all__ = [
    "FEWEST_DRAWS",
    "UNKNOWN",
    "byte_size",
    "count",
    "decibel",
    "duration",
    "fixed",
    "moment",
    "p_value",
    "scientific",
    "signed",
    "z_score",
]

UNKNOWN = "[dim]–[/dim]"
FEWEST_DRAWS = 8
"""A z over fewer draws of a null is not shown: their standard deviation says too little."""
LARGEST_Z = 100


def _known(write: Callable[[float], str], value: float | None) -> str:
    """The number as `write` has it; `UNKNOWN` for None and NaN."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return write(value)


def fixed(value: float | None, digits: int = 3) -> str:
    """So many digits after the point, without a negative zero."""
    return _known(lambda number: f"{number:z.{digits}f}", value)


def signed(value: float | None, digits: int = 1) -> str:
    """With its sign, for differences."""
    return _known(lambda number: f"{number:+z.{digits}f}", value)


def z_score(value: float | None, num_draws: int) -> str:
    """With its sign; unknown over fewer than `FEWEST_DRAWS` draws.

    From `LARGEST_Z` on as a bound: a z of thousands tells how little the null varies, not how large the effect is.
    """
    if value is None or num_draws < FEWEST_DRAWS:
        return UNKNOWN
    return signed(value) if abs(value) < LARGEST_Z else f"{'>+' if value > 0 else '<-'}{LARGEST_Z}"


def decibel(value: float | None) -> str:
    """One digit after the point."""
    return _known(lambda number: f"{number:.1f} dB", value)


def scientific(value: float | None) -> str:
    """Three significant digits."""
    return _known(lambda number: f"{number:.2e}", value)


def p_value(value: float | None) -> str:
    """Three digits; smaller ones as a bound."""
    return _known(lambda number: "<0.001" if number < 0.001 else f"{number:.3f}", value)


def count(value: int | None) -> str:
    """With commas."""
    return UNKNOWN if value is None else f"{value:,}"


def byte_size(num_bytes: int | None) -> str:
    """In kB, MB or GB of powers of 1,000, as hubs show it."""
    if num_bytes is None:
        return "unknown size"
    if num_bytes == 0:
        return "0 B"
    if num_bytes < 1_000_000:
        return f"{num_bytes / 1e3:.1f} kB"
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes < 1_000_000_000 else f"{num_bytes / 1e9:,.2f} GB"


def duration(seconds: float | None) -> str:
    """`0.4 s` (`4 s` of whole seconds), `12 s`, `3 min 05 s`, `2 h 04 min`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 10 and isinstance(seconds, float):
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left:02} min" if hours else f"{minutes} min {rest:02} s"


def moment(time: dt.datetime | None) -> str:
    """To the second, in UTC, as the database keeps it."""
    return UNKNOWN if time is None else f"{time.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}"
