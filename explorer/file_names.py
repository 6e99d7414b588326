"""Names from outside as names of files."""

import re
from collections.abc import Sequence

from pipeline.kept.stages import content_key

__all__ = ["default_name", "file_name"]

LONGEST = 80
"""Characters of a name; file systems take 255 bytes, suffixes included."""
MOST_BYTES = 200
"""Of a name in letters of any script."""
NAMED = 3
"""Models that a name names."""


def file_name(*parts: str) -> str:
    """A name for a file of these parts, which come from outside: letters, digits, dots, dashes; no folder.

    What had to be replaced or cut leaves a hash, so that no two names become one.
    """
    joined = "-".join(parts)
    safe = "".join(each if each.isascii() and (each.isalnum() or each in "._-") else "-" for each in joined)
    safe = safe.lstrip(".")[:LONGEST]
    return joined if safe == joined else f"{safe}-{content_key(joined)[:8]}"


def default_name(kind: str, models: Sequence[str]) -> str:
    """What a file about models is called where nobody says it, without its suffix: `KIND-MODEL`."""
    names = [re.sub(r"[^\w.-]+", "-", each) for each in models]
    joined = "-".join([kind, *names[:NAMED], *(["and-more"] if len(names) > NAMED else [])])
    return joined if len(joined.encode()) <= MOST_BYTES else file_name(joined)
