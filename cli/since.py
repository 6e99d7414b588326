"""Times as people give them: `7d` ago, or a date."""

import datetime as dt
import re

from dna_zoo.errors import SettingsError

__all__ = ["moment_of"]

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment_of(text: str, now: dt.datetime) -> dt.datetime:
    """The time that `30m`, `12h`, `7d` or `2w` before `now` was, or that a date in ISO 8601 is (in UTC, if it says no
    zone). Raises `SettingsError` for anything else."""
    span = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    try:
        if span:
            return now - dt.timedelta(**{UNITS[span[2]]: int(span[1])})
        found = dt.datetime.fromisoformat(text)
        # Near the first and the last year there are times of day that UTC has no date for.
        return (found if found.tzinfo else found.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        hint = "Give a span such as 30m, 12h, 7d or 2w, or a date such as 2026-11-01 or 2026-11-01T08:00."
        raise SettingsError(f"`--since` is {text!r}.", hint=hint) from error
